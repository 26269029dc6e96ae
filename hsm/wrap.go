package hsm

import (
	"crypto/rand"
	"errors"
	"slices"

	"github.com/hsmmirror/hsmmirror/internal/keywrap"
	"github.com/hsmmirror/hsmmirror/provider"
)

// keyWrap is a mechanism by which keys leave the token and enter it, and the same in this process. No plaintext of a key passes
// the module's interface, so that CKA_SENSITIVE stays on.
type keyWrap struct {
	mechanism    uint
	whole        bool // for keys of a multiple of 8 bytes only, which PKCS #8 is not as a rule
	wrap, unwrap func(kek, key []byte) ([]byte, error)
}

// keyWraps are the mechanisms that we know, the best first. CKM_AES_KEY_WRAP_PAD is RFC 5649 by PKCS#11 v2.40, as SoftHSM2 and others
// have it; v3.0 deprecates it because some modules pad otherwise. The integrity check of RFC 5649 tells those.
var keyWraps = []keyWrap{
	{ckmAESKeyWrapKWP, false, keywrap.WrapPad, keywrap.UnwrapPad},
	{ckmAESKeyWrapPad, false, keywrap.WrapPad, keywrap.UnwrapPad},
	{ckmAESKeyWrap, true, keywrap.Wrap, keywrap.Unwrap},
}

// keyWrapFor returns the first mechanism of the token that has the flag, ckfWrap or ckfUnwrap, and takes keys of alg with this size.
func keyWrapFor(mechanisms map[uint]mechanismInfo, flag uint, alg provider.KeyAlg, bits int) (keyWrap, bool) {
	whole := alg.Class() == provider.Symmetric && bits%64 == 0
	i := slices.IndexFunc(keyWraps, func(k keyWrap) bool {
		return mechanisms[k.mechanism].flags&flag != 0 && (whole || !k.whole)
	})
	if i < 0 {
		return keyWrap{}, false
	}
	return keyWraps[i], true
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
