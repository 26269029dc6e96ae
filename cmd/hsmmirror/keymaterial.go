package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v2/jwk"
	jwkx25519 "github.com/lestrrat-go/jwx/v2/x25519"

	"github.com/hsmmirror/hsmmirror/internal/pbes2"
	"github.com/hsmmirror/hsmmirror/provider"
)

// unlock decrypts an EncryptedPrivateKeyInfo. The caller wipes what it returns.
type unlock func(der []byte) ([]byte, error)

// unlocker returns an unlock with the passphrase from a source, which is asked when it is needed.
func unlocker(ctx context.Context, spec string) unlock {
	return func(der []byte) ([]byte, error) {
		if spec == "" {
			return nil, usagef("name the source of its passphrase with --key-passphrase-source", "the private key is encrypted")
		}
		source, err := secretSource(ctx, "key-passphrase-source", spec, "passphrase of the key")
		if err != nil {
			return nil, err
		}
		passphrase, err := source(ctx)
		if err != nil {
			return nil, err
		}
		defer passphrase.Wipe()
		plain, err := pbes2.Decrypt(der, passphrase.Expose())
		if errors.Is(err, pbes2.ErrPassphrase) {
			err = fmt.Errorf("%w: the encrypted key: %w", provider.ErrAuth, err)
		}
		return plain, err
	}
}

// keyMaterial finds the key in the content of a file. What begins as JSON and is text is a JWK; the bytes of a symmetric key may begin
// so too, and then are no text.
func keyMaterial(alg provider.KeyAlg, b []byte, open unlock) (provider.KeyMaterial, error) {
	if trimmed := bytes.TrimSpace(b); bytes.HasPrefix(trimmed, []byte("{")) && utf8.Valid(trimmed) {
		return jwkMaterial(alg, trimmed)
	}
	if alg.Class() == provider.Symmetric {
		return provider.KeyMaterial{Private: provider.NewSecret(b)}, nil
	}
	if block, _ := pem.Decode(b); block != nil {
		return pemMaterial(b, open)
	}
	if _, err := x509.ParsePKIXPublicKey(b); err == nil {
		return provider.KeyMaterial{Public: bytes.Clone(b)}, nil
	}
	if pbes2.Is(b) {
		return sealedMaterial(b, open)
	}
	return provider.KeyMaterial{Private: provider.NewSecret(b)}, nil
}

// sealedMaterial takes a private key that is encrypted.
func sealedMaterial(der []byte, open unlock) (provider.KeyMaterial, error) {
	plain, err := open(der)
	defer clear(plain)
	if err != nil {
		return provider.KeyMaterial{}, err
	}
	return provider.KeyMaterial{Private: provider.NewSecret(plain)}, nil
}

// pemMaterial takes the first private key of a PEM file, and else the first public key. Other blocks, such as the EC PARAMETERS
// that OpenSSL writes before a key, are passed over.
func pemMaterial(b []byte, open unlock) (provider.KeyMaterial, error) {
	var public []byte
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		defer clear(block.Bytes)
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			return sealedMaterial(block.Bytes, open)
		case block.Headers["DEK-Info"] != "":
			return provider.KeyMaterial{}, provider.Invalidf("the private key is encrypted in OpenSSL's old way, which protects little: convert it with openssl pkcs8 -topk8")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return provider.KeyMaterial{Private: provider.NewSecret(block.Bytes)}, nil
		case block.Type == "PUBLIC KEY" && public == nil:
			public = bytes.Clone(block.Bytes)
		}
		b = rest
	}
	if public == nil {
		return provider.KeyMaterial{}, provider.Invalidf("no PRIVATE KEY and no PUBLIC KEY among the PEM blocks")
	}
	return provider.KeyMaterial{Public: public}, nil
}

// jwkMaterial takes a private, public or symmetric JWK. Its errors tell nothing of the members.
func jwkMaterial(alg provider.KeyAlg, b []byte) (provider.KeyMaterial, error) {
	want := provider.Invalidf("JWK of %d bytes: want one key of type %s %s", len(b), alg.KeyType(), alg.Curve())
	key, err := jwk.ParseKey(b)
	if err != nil || key.KeyType().String() != alg.KeyType() {
		return provider.KeyMaterial{}, want
	}
	var raw any
	if key.Raw(&raw) != nil {
		return provider.KeyMaterial{}, want
	}
	switch k := raw.(type) {
	case []byte:
		defer clear(k)
		return provider.KeyMaterial{Private: provider.NewSecret(k)}, nil
	case jwkx25519.PrivateKey:
		private, err := ecdh.X25519().NewPrivateKey(k.Seed())
		if err != nil {
			return provider.KeyMaterial{}, want
		}
		raw = private
	case jwkx25519.PublicKey:
		public, err := ecdh.X25519().NewPublicKey(k)
		if err != nil {
			return provider.KeyMaterial{}, want
		}
		raw = public
	}
	if private, err := jwk.IsPrivateKey(key); err == nil && private {
		return provider.Material(raw)
	}
	return provider.PublicMaterial(raw)
}
