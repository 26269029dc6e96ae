package providertest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"io"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Signer implements [provider.Signing].
func (f *Fake) Signer(ctx context.Context, kid string, version int) (provider.Signer, error) {
	j := job{"Signer", provider.KeyAlg.Signs, []provider.KeyUse{provider.UseSign}}
	o, err := call(ctx, f, j.method, func(s *fakeStore) (*fakeObject, error) {
		if version == 0 {
			var err error
			if version, err = s.active(kid); err != nil {
				return nil, err
			}
		}
		v, ref, err := s.pick(j, kid, version)
		if err != nil {
			return nil, err
		}
		return &fakeObject{f, ref, v.key.Public}, nil
	}, provider.ValidateKID(kid), provider.ValidateVersion(version))
	if err != nil {
		return nil, err
	}
	return &fakeSigner{o}, nil
}

type fakeSigner struct{ *fakeObject }

// Sign implements crypto.Signer.
func (s *fakeSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.SignContext(context.Background(), digest, opts)
}

// SignContext implements [provider.Signer].
func (s *fakeSigner) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.use(ctx, "Sign", provider.UseSign, func(key provider.ParsedMaterial) ([]byte, error) {
		opts, err := signerOpts(s.ref.Alg, digest, opts)
		if err != nil {
			return nil, err
		}
		return key.Private.(crypto.Signer).Sign(rand.Reader, digest, opts)
	})
}

// signerOpts returns the options that opts stands for, with the padding of alg, or [provider.ErrInvalid].
func signerOpts(alg provider.KeyAlg, digest []byte, opts crypto.SignerOpts) (crypto.SignerOpts, error) {
	if opts == nil {
		opts = alg.SignerOpts()
	}
	pss, isPSS := opts.(*rsa.PSSOptions)
	if isPSS != (alg == provider.RSAPSSSHA256) || isPSS && pss == nil {
		return nil, provider.Invalidf("sign with %s: options of type %T ask for another padding: want %T", alg, opts, alg.SignerOpts())
	}
	if alg == provider.Ed25519 {
		if o, ok := opts.(*ed25519.Options); ok && (o == nil || o.Context != "") || opts.HashFunc() != 0 {
			return nil, provider.Invalidf("sign with %s: want the message itself, and no context", alg)
		}
		return crypto.Hash(0), nil
	}
	hash := opts.HashFunc()
	switch hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, provider.Invalidf("sign with %s: hash %v, want SHA-256, SHA-384 or SHA-512", alg, hash)
	}
	if len(digest) != hash.Size() {
		return nil, provider.Invalidf("sign with %s: digest of %d bytes, want the %d of %v", alg, len(digest), hash.Size(), hash)
	}
	if isPSS && pss.SaltLength != rsa.PSSSaltLengthAuto && pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != hash.Size() {
		return nil, provider.Invalidf("sign with %s: salt length %d, want that of the hash", alg, pss.SaltLength)
	}
	if isPSS {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}, nil
	}
	return hash, nil
}
