package softfile

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Signer implements [provider.Signing]. [provider.ErrAuth] if the store was opened without a passphrase.
func (s *Store) Signer(ctx context.Context, kid string, version int) (provider.Signer, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid), provider.ValidateVersion(version)); err != nil {
		return nil, err
	}
	e, v, err := s.find(ctx, kid, version)
	if err == nil && version == 0 {
		v, err = e.active(time.Now())
	}
	if err != nil {
		return nil, err
	}
	o, err := s.objectOf(e, v, job{"sign", provider.KeyAlg.Signs, []provider.KeyUse{provider.UseSign}})
	if err != nil {
		return nil, err
	}
	return &signer{o}, nil
}

// active returns the version that signs.
func (e *entry) active(now time.Time) (active *version, err error) {
	e.states(now, func(v *version, state provider.State) {
		if state == provider.Active {
			active = v
		}
	})
	if active == nil {
		return nil, fmt.Errorf("%w: %q has no active version", provider.ErrNotFound, e.kid)
	}
	return active, nil
}

type signer struct{ *object }

// Sign implements crypto.Signer.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.SignContext(context.Background(), digest, opts)
}

// SignContext implements [provider.Signer].
func (s *signer) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.may(ctx, provider.UseSign); err != nil {
		return nil, err
	}
	opts, err := signerOpts(s.ref.Alg, digest, opts)
	if err != nil {
		return nil, err
	}
	signature, err := s.key().Private.(crypto.Signer).Sign(rand.Reader, digest, opts)
	if err != nil {
		return nil, provider.Invalidf("sign with %q: %v", s.ref.JWKKID(), err)
	}
	return signature, nil
}

// signerOpts returns what opts asks for, in the algorithm's own terms. ErrInvalid if they contradict each other, so that
// no one gets a signature of another scheme than the one that was asked for.
func signerOpts(alg provider.KeyAlg, digest []byte, opts crypto.SignerOpts) (crypto.SignerOpts, error) {
	if opts == nil {
		opts = alg.SignerOpts()
	}
	pss, isPSS := opts.(*rsa.PSSOptions)
	if isPSS != (alg == provider.RSAPSSSHA256) || isPSS && pss == nil {
		return nil, provider.Invalidf("sign with %s: options of type %T ask for another padding: want %T", alg, opts, alg.SignerOpts())
	}
	if alg == provider.Ed25519 {
		return pureEd25519(opts)
	}
	hash := opts.HashFunc()
	switch hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, provider.Invalidf("sign with %s and hash %d: want SHA-256, SHA-384 or SHA-512", alg, uint(hash))
	}
	if len(digest) != hash.Size() {
		return nil, provider.Invalidf("sign with %s: digest of %d bytes, want the %d of %v", alg, len(digest), hash.Size(), hash)
	}
	if !isPSS {
		return hash, nil
	}
	if pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != rsa.PSSSaltLengthAuto && pss.SaltLength != hash.Size() {
		return nil, provider.Invalidf("sign with %s and a salt of %d bytes: want that of the hash, %d", alg, pss.SaltLength, hash.Size())
	}
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}, nil
}

// pureEd25519 refuses Ed25519ph and Ed25519ctx (RFC 8032 section 5.1), which are other schemes.
func pureEd25519(opts crypto.SignerOpts) (crypto.SignerOpts, error) {
	o, ok := opts.(*ed25519.Options)
	if ok && (o == nil || o.Context != "") || opts.HashFunc() != 0 {
		return nil, provider.Invalidf("sign with %s: want the message itself, no hash and no context", provider.Ed25519)
	}
	return crypto.Hash(0), nil
}
