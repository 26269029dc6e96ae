package hsm

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Signer returns the signer of a version. A signature is one C_SignInit and one C_Sign on a session that is logged in.
func (t *Token) Signer(ctx context.Context, kid string, n int) (provider.Signer, error) {
	k, v, err := t.lookupVersion(ctx, kid, n)
	if err != nil {
		return nil, err
	}
	at := now()
	if n == 0 {
		if v = k.active(at); v == nil {
			return nil, fmt.Errorf("%w: %q has no active version", provider.ErrNotFound, kid)
		}
	}
	if err := v.usable("sign", v.Alg.Signs(), provider.UseSign); err != nil {
		return nil, err
	}
	return &signer{held: held{t: t, v: v}, key: k, at: at}, nil
}

// usable checks that a version can be put to an operation: that its algorithm is for it, that one of uses is among its own,
// and that the private half is here.
func (v *version) usable(operation string, fits bool, uses ...provider.KeyUse) error {
	switch {
	case !fits:
		return provider.Unsupportedf("%s with %q: a %s key is not for that", operation, v.jwkKID(), v.Alg)
	case v.private == nil:
		return provider.Unsupportedf("%s with %q: the token holds only its public half", operation, v.jwkKID())
	}
	for _, u := range uses {
		if slices.Contains(v.Uses, u) {
			return nil
		}
	}
	return provider.Invalidf("%s with %q: its uses are %v", operation, v.jwkKID(), v.Uses)
}

// held is a version that a caller holds on to. It outlives connections: its objects are found again when they have to be.
type held struct {
	t   *Token
	v   *version
	ref provider.KeyRef
}

// Format prints the names of the token and the key, whatever the verb: fmt would go on into the Token, which changes meanwhile.
func (h held) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%v key %q", h.t, h.v.jwkKID()) }

// KeyRef describes the version as it was when it was asked for.
func (h *held) KeyRef() provider.KeyRef { return h.ref.Clone() }

// use runs f with the version's private key object. If the object was found on an earlier connection, or its handle is not
// valid any more, use finds it again by its CKA_ID and tries f once more.
func (h *held) use(ctx context.Context, f func(private *object) ([]byte, error)) ([]byte, error) {
	if err := h.t.begin(ctx); err != nil {
		return nil, err
	}
	if v := h.t.known(h.v); v != nil {
		out, err := f(v.private)
		if !lostHandle(err) {
			return out, err
		}
	}
	return settled(h.t.cfg, func() ([]byte, error) {
		private, err := h.findAgain(ctx)
		if err != nil {
			return nil, err
		}
		return f(private)
	})
}

// findAgain asks the token for the version's private key object. ErrNotFound if it holds another key under the version's name.
func (h *held) findAgain(ctx context.Context) (*object, error) {
	k, err := h.t.reloadExcept(ctx, h.v.KID, nil)
	if err != nil {
		return nil, err
	}
	again, err := k.find(h.v.Version)
	switch {
	case err != nil:
		return nil, err
	case again.ID != h.v.ID || again.private == nil:
		return nil, provider.NotFound(h.v.KID, h.v.Version)
	}
	return again.private, nil
}

// known returns the latest that is known of the key that v is, v itself if that is nothing, and nil if the key is known to have
// changed: a handle of what was destroyed may be another object's by now, as tpm2-pkcs11 gives handles anew.
func (t *Token) known(v *version) *version {
	if v.object == nil { // in the making
		return v
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	k := t.idx.keys[v.KID]
	w := k.version(v.Version)
	switch {
	case k == nil:
		return v
	case w == nil && slices.ContainsFunc(k.problems, func(p problem) bool { return p.version == 0 || p.version == v.Version }):
		return v // it may be there, though it can't be published
	case w == nil || w.ID != v.ID || w.private == nil:
		return nil
	}
	return w
}

// lostHandle tells whether an object has to be found again.
func lostHandle(err error) bool {
	e, answered := errors.AsType[*Error](err)
	return answered && classOf(e.Code) == classKey || errors.Is(err, errMoved)
}

// signer describes its version when it is asked to, and not before: some programs look the key up for each signature.
type signer struct {
	held // without ref
	key  *key
	at   time.Time
}

var _ provider.Signer = (*signer)(nil)

// KeyRef describes the version as it was when it was asked for.
func (s *signer) KeyRef() provider.KeyRef { return s.key.ref(s.v, s.at) }

// Public returns the public half.
func (s *signer) Public() crypto.PublicKey { return s.v.public }

// Sign is SignContext bounded by Config.Timeout alone. The token draws its own random numbers, so rand is not used.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.SignContext(context.Background(), digest, opts)
}

// SignContext signs digest on the token. No options stand for the algorithm's own.
func (s *signer) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil {
		opts = s.v.Alg.SignerOpts()
	}
	m, data, err := signature(s.v.Alg, digest, opts)
	if err != nil {
		return nil, err
	}
	raw, err := s.signSure(ctx, m, data, digest, opts.HashFunc())
	if err != nil || s.v.Alg.KeyType() != "EC" {
		return raw, err
	}
	return curveFor(s.v.Alg).signatureDER(raw)
}

// signature returns the mechanism for a signature and what it is given. The padding is the algorithm's; the hash may be another of
// the SHA-2 family, because TLS and SSH choose it. An automatic PSS salt is as long as the hash: what TLS, X.509 and JWA want, and
// all that some tokens do.
func signature(alg provider.KeyAlg, digest []byte, opts crypto.SignerOpts) (mechanism, []byte, error) {
	pss, isPSS := opts.(*rsa.PSSOptions)
	if isPSS != (alg == provider.RSAPSSSHA256) || isPSS && pss == nil {
		return mechanism{}, nil, provider.Invalidf("sign with a %s key: options of type %T ask for another padding: want %T", alg, opts, alg.SignerOpts())
	}
	if alg == provider.Ed25519 {
		if o, ok := opts.(*ed25519.Options); ok && (o == nil || o.Context != "") || opts.HashFunc() != 0 {
			return mechanism{}, nil, provider.Invalidf("sign with an Ed25519 key: want crypto.Hash(0) and the message itself, without a context")
		}
		return mechanism{typ: ckmEdDSA}, digest, nil
	}
	h, ok := hashes[opts.HashFunc()]
	if !ok || len(digest) != opts.HashFunc().Size() {
		return mechanism{}, nil, provider.Invalidf("sign with a %s key: a digest of %d bytes for %v: want one of SHA-256, SHA-384 or SHA-512", alg, len(digest), opts.HashFunc())
	}
	switch alg {
	case provider.RSAPSSSHA256:
		size := pss.Hash.Size()
		if n := pss.SaltLength; n != rsa.PSSSaltLengthAuto && n != rsa.PSSSaltLengthEqualsHash && n != size {
			return mechanism{}, nil, provider.Invalidf("PSS salt of %d bytes: want %d, as long as the hash", n, size)
		}
		return mechanism{typ: ckmRSAPKCSPSS, pss: &pssParams{h.mechanism, h.mgf, uint(size)}}, digest, nil
	case provider.RSAPKCS1SHA256:
		return mechanism{typ: ckmRSAPKCS}, append(append([]byte(nil), h.prefix...), digest...), nil
	}
	return mechanism{typ: ckmECDSA}, digest, nil
}

// hashInfo is what PKCS#11 and RSA want to know of a hash.
type hashInfo struct {
	mechanism, mgf uint
	prefix         []byte // DER of DigestInfo up to the digest (RFC 8017 section 9.2 note 1)
}

var hashes = map[crypto.Hash]hashInfo{
	crypto.SHA256: {ckmSHA256, ckgMGF1SHA256, []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")},
	crypto.SHA384: {ckmSHA384, ckgMGF1SHA384, []byte("\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30")},
	crypto.SHA512: {ckmSHA512, ckgMGF1SHA512, []byte("\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40")},
}
