package hsm

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"

	"github.com/hsmmirror/hsmmirror/provider"
)

// privateAttributes returns the attributes with which C_CreateObject makes the private key of a pair:
//
//   - *ecdsa.PrivateKey on P-256, P-384 or P-521: CKA_VALUE, the scalar, big-endian and as long as the order;
//   - ed25519.PrivateKey: CKA_VALUE, the seed;
//   - X25519 *ecdh.PrivateKey: CKA_VALUE, the scalar;
//   - *rsa.PrivateKey with two primes: its eight numbers, unsigned and big-endian.
//
// [provider.ErrInvalid] for any other. The values are copies; link.create wipes them.
func privateAttributes(key crypto.PrivateKey) ([]attribute, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return rsaAttributes(k)
	case *ecdsa.PrivateKey:
		if _, _, err := pointOf(&k.PublicKey); err != nil {
			return nil, err
		}
		scalar, err := k.Bytes()
		if err != nil {
			return nil, provider.Invalidf("ECDSA private key: want a scalar from 1 to the order of its curve")
		}
		return []attribute{{ckaValue, scalar}}, nil
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize {
			return nil, provider.Invalidf("Ed25519 private key of %d bytes: want %d", len(k), ed25519.PrivateKeySize)
		}
		return []attribute{{ckaValue, k.Seed()}}, nil
	case *ecdh.PrivateKey:
		if k.Curve() == ecdh.X25519() {
			return []attribute{{ckaValue, k.Bytes()}}, nil
		}
	}
	return nil, provider.Invalidf("private key of type %T: want RSA or one on %s", key, curveNames())
}

func rsaAttributes(key *rsa.PrivateKey) ([]attribute, error) {
	if len(key.Primes) != 2 {
		return nil, provider.Invalidf("RSA private key of %d primes: want 2", len(key.Primes))
	}
	k := *key // Precompute writes to it
	k.Precompute()
	if err := k.Validate(); err != nil {
		return nil, provider.Invalidf("RSA private key: its numbers do not belong together")
	}
	modulus, exponent := encodeRSAPublic(&k.PublicKey)
	return []attribute{
		{ckaModulus, modulus}, {ckaPublicExponent, exponent}, {ckaPrivateExponent, k.D.Bytes()},
		{ckaPrime1, k.Primes[0].Bytes()}, {ckaPrime2, k.Primes[1].Bytes()},
		{ckaExponent1, k.Precomputed.Dp.Bytes()}, {ckaExponent2, k.Precomputed.Dq.Bytes()}, {ckaCoefficient, k.Precomputed.Qinv.Bytes()},
	}, nil
}

// wipe overwrites the bytes of a template. Not the key that they were copied from, nor the copies that math/big made.
func wipe(template []attribute) {
	for _, a := range template {
		if b, ok := a.value.([]byte); ok {
			clear(b)
		}
	}
}
