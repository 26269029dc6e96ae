package hsm

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/hsmmirror/hsmmirror/internal/keywrap"
	"github.com/hsmmirror/hsmmirror/provider"
)

// keyWrap is a way in which keys leave the token and enter it: a mechanism, and the same in this process. No plaintext of a key
// passes the module's interface, so that CKA_SENSITIVE stays on.
type keyWrap struct {
	mechanism    uint
	whole        bool // for keys of a multiple of 8 bytes only, which PKCS #8 is not as a rule
	wrap, unwrap func(kek, key []byte) ([]byte, error)
}

// keyWraps are the ways that we know, the best first. CKM_AES_KEY_WRAP_PAD is RFC 5649 on SoftHSM2, as PKCS#11 v2.40 says, and PKCS #7
// padding on NSS, as v3.0 has it; the integrity check of either tells them apart.
var keyWraps = []keyWrap{
	{ckmAESKeyWrapKWP, false, keywrap.WrapPad, keywrap.UnwrapPad},
	{ckmAESKeyWrapPKCS7, false, keywrap.WrapPKCS7, keywrap.UnwrapPKCS7},
	{ckmAESKeyWrapPad, false, keywrap.WrapPad, keywrap.UnwrapPad},
	{ckmAESKeyWrapPad, false, keywrap.WrapPKCS7, keywrap.UnwrapPKCS7},
	{ckmAESKeyWrap, true, keywrap.Wrap, keywrap.Unwrap},
}

// keyWrapsFor returns the ways in which a token with these mechanisms may wrap keys of alg with this size, or unwrap them: flag is
// ckfWrap or ckfUnwrap.
func keyWrapsFor(mechanisms map[uint]mechanismInfo, flag uint, alg provider.KeyAlg, bits int) []keyWrap {
	whole := alg.Class() == provider.Symmetric && bits%64 == 0
	return slices.DeleteFunc(slices.Clone(keyWraps), func(k keyWrap) bool {
		return mechanisms[k.mechanism].flags&flag == 0 || k.whole && !whole
	})
}

// byWrapping tries the ways of keyWrapsFor in turn, until one is not refused. The error is that of the first way;
// provider.ErrUnsupported with the missing mechanism if there is none.
func (t *Token) byWrapping(ctx context.Context, flag uint, alg provider.KeyAlg, bits int, do func(keyWrap, wrapping) error) error {
	_, mechanisms, err := t.link.token(ctx)
	if err != nil {
		return err
	}
	var first error
	for _, k := range keyWrapsFor(mechanisms, flag, alg, bits) {
		err := k.underKEK(func(w wrapping) error { return do(k, w) })
		if errors.Is(err, keywrap.ErrUnwrap) {
			err = provider.Unsupportedf("what it makes by %s does not unwrap", mechanismName(k.mechanism))
		}
		if !refused(err) {
			return err
		}
		first = cmp.Or(first, err)
	}
	return cmp.Or(first, provider.Unsupportedf("it lacks %s", mechanismName(ckmAESKeyWrapKWP)))
}

// underKEK runs do with a key encryption key that is drawn for it, and once more with that key transported if the token takes none
// in plain text.
func (k keyWrap) underKEK(do func(wrapping) error) error {
	kek := make([]byte, 32)
	rand.Read(kek)
	defer clear(kek)
	err := do(wrapping{mechanism: k.mechanism, kek: kek})
	if errors.Is(err, errNoKEK) {
		err = do(wrapping{mechanism: k.mechanism, kek: kek, transport: true})
	}
	return err
}
