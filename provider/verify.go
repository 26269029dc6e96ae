package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
)

// Verify returns nil if signature, in the form that a [Signer] makes, is the key's signature of message under the key's
// algorithm. It returns [ErrInvalid] if not, and [ErrUnsupported] for a key that makes no signatures. It needs no store.
func (k JWK) Verify(message, signature []byte) error {
	alg := k.Alg()
	if !alg.Signs() {
		return Unsupportedf("verify with %q: a %s key makes no signatures", k.JWKKID(), alg)
	}
	if !verify(alg, k.PublicKey(), message, signature) {
		return Invalidf("signature of %d bytes is not one of key %q over this message", len(signature), k.JWKKID())
	}
	return nil
}

// Digest returns what a [Signer] for alg is given for message: its hash, or message itself if the scheme hashes by itself.
func (a KeyAlg) Digest(message []byte) []byte {
	if a.Hash() == 0 {
		return message
	}
	h := a.Hash().New()
	h.Write(message)
	return h.Sum(nil)
}

func verify(alg KeyAlg, public crypto.PublicKey, message, signature []byte) bool {
	digest := alg.Digest(message)
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case *rsa.PublicKey:
		if o, ok := alg.SignerOpts().(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(k, alg.Hash(), digest, signature, o) == nil
		}
		return rsa.VerifyPKCS1v15(k, alg.Hash(), digest, signature) == nil
	}
	return false
}
