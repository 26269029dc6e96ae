package softfile

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"

	"github.com/hsmmirror/hsmmirror/provider"
)

// generate makes a key of the spec, which is normalised. It can't be interrupted (RSA takes up to some seconds), and is
// called while no lock is held.
func generate(ctx context.Context, spec provider.KeySpec) (provider.ParsedMaterial, error) {
	if spec.Alg.Class() == provider.Symmetric {
		key := random(spec.Bits / 8)
		defer clear(key)
		return provider.ParsedMaterial{Symmetric: provider.NewSecret(key), Bits: spec.Bits}, nil
	}
	private, err := generatePrivate(spec.Alg, spec.Bits)
	if err != nil {
		return provider.ParsedMaterial{}, provider.Unsupportedf("make a key for %s: %w", spec.Alg, err)
	}
	public := private.(interface{ Public() crypto.PublicKey }).Public()
	return provider.ParsedMaterial{Private: private, Public: public, Bits: spec.Bits}, ctx.Err()
}

func generatePrivate(alg provider.KeyAlg, bits int) (crypto.PrivateKey, error) {
	switch alg {
	case provider.Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	case provider.X25519:
		return ecdh.X25519().GenerateKey(rand.Reader)
	case provider.ECDSAP256SHA256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case provider.ECDSAP384SHA384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case provider.ECDSAP521SHA512:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case provider.RSAOAEPSHA256, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256:
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return nil, errors.New("unknown algorithm")
}
