package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// signSure signs with the key's own object. Some modules know a key by its place on a smart card, which another process may have given to
// another key: there each signature is verified, and the module started afresh if it is another key's. provider.ErrTampered if
// that changes nothing.
func (s *signer) signSure(ctx context.Context, m mechanism, data, digest []byte, hash crypto.Hash) ([]byte, error) {
	mistaken := false
	return s.use(ctx, func(private *object) ([]byte, error) {
		out, err := s.t.link.sign(ctx, private, m, data)
		switch {
		case err != nil || !s.t.link.mayMistake() || s.fits(out, digest, hash):
			return out, err
		case mistaken:
			return nil, fmt.Errorf("%w: %q: the token signs with another key", provider.ErrTampered, s.v.jwkKID())
		}
		mistaken = true
		if err := s.t.link.afresh(ctx); err != nil {
			return nil, err
		}
		return nil, errMoved
	})
}

// fits tells whether a signature as the token gives it is one of the version's key.
func (s *signer) fits(signature, digest []byte, hash crypto.Hash) bool {
	switch public := s.v.public.(type) {
	case *rsa.PublicKey:
		if s.v.Alg == provider.RSAPSSSHA256 {
			return rsa.VerifyPSS(public, hash, digest, signature, nil) == nil
		}
		return rsa.VerifyPKCS1v15(public, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		der, err := curveFor(s.v.Alg).signatureDER(signature)
		return err == nil && ecdsa.VerifyASN1(public, digest, der)
	case ed25519.PublicKey:
		return ed25519.Verify(public, digest, signature)
	}
	return false
}
