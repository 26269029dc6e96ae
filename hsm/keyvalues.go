package hsm

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"

	"github.com/hsmmirror/hsmmirror/provider"
)

// privateValues holds the CKA_ values with which C_CreateObject makes a private key. The numbers of RSA are unsigned and
// big-endian.
type privateValues struct {
	value []byte // CKA_VALUE of keys on a curve: a NIST scalar, big-endian and as long as the order; an Ed25519 seed; an X25519 scalar

	modulus, publicExponent []byte // CKA_MODULUS, CKA_PUBLIC_EXPONENT
	privateExponent         []byte // CKA_PRIVATE_EXPONENT
	prime1, prime2          []byte // CKA_PRIME_1, CKA_PRIME_2: p, q
	exponent1, exponent2    []byte // CKA_EXPONENT_1, CKA_EXPONENT_2: d mod p-1, d mod q-1
	coefficient             []byte // CKA_COEFFICIENT: the inverse of q mod p
}

// wipe overwrites the values with zeros. The key that they were taken from, and the copies that math/big made, are not
// touched.
func (v *privateValues) wipe() {
	for _, b := range [][]byte{v.value, v.modulus, v.publicExponent, v.privateExponent, v.prime1, v.prime2, v.exponent1, v.exponent2, v.coefficient} {
		clear(b)
	}
	*v = privateValues{}
}

// valuesOf returns the values of a private key: *rsa.PrivateKey with two primes, *ecdsa.PrivateKey on P-256, P-384 or P-521,
// ed25519.PrivateKey, or X25519 *ecdh.PrivateKey. [provider.ErrInvalid] for any other. The caller wipes them.
func valuesOf(key crypto.PrivateKey) (privateValues, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return rsaValues(k)
	case *ecdsa.PrivateKey:
		if _, _, err := pointOf(&k.PublicKey); err != nil {
			return privateValues{}, err
		}
		scalar, err := k.Bytes()
		if err != nil {
			return privateValues{}, provider.Invalidf("ECDSA private key: want a scalar from 1 to the order of its curve")
		}
		return privateValues{value: scalar}, nil
	case ed25519.PrivateKey:
		if len(k) != ed25519.PrivateKeySize {
			return privateValues{}, provider.Invalidf("Ed25519 private key of %d bytes: want %d", len(k), ed25519.PrivateKeySize)
		}
		return privateValues{value: k.Seed()}, nil
	case *ecdh.PrivateKey:
		if k.Curve() == ecdh.X25519() {
			return privateValues{value: k.Bytes()}, nil
		}
	}
	return privateValues{}, provider.Invalidf("private key of type %T: want RSA or one on %s", key, curveNames())
}

func rsaValues(key *rsa.PrivateKey) (privateValues, error) {
	if len(key.Primes) != 2 {
		return privateValues{}, provider.Invalidf("RSA private key of %d primes: want 2", len(key.Primes))
	}
	k := *key // Precompute writes to it
	k.Precompute()
	if err := k.Validate(); err != nil {
		return privateValues{}, provider.Invalidf("RSA private key: its numbers do not belong together")
	}
	modulus, exponent := encodeRSAPublic(&k.PublicKey)
	return privateValues{
		modulus: modulus, publicExponent: exponent,
		privateExponent: k.D.Bytes(),
		prime1:          k.Primes[0].Bytes(), prime2: k.Primes[1].Bytes(),
		exponent1: k.Precomputed.Dp.Bytes(), exponent2: k.Precomputed.Dq.Bytes(),
		coefficient: k.Precomputed.Qinv.Bytes(),
	}, nil
}
