package providertest

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Decrypter implements [provider.Decrypting].
func (f *Fake) Decrypter(ctx context.Context, kid string, version int) (provider.Decrypter, error) {
	o, err := f.object(ctx, job{"Decrypter", only(provider.RSAOAEPSHA256), []provider.KeyUse{provider.UseDecrypt}}, kid, version)
	if err != nil {
		return nil, err
	}
	return &fakeDecrypter{o}, nil
}

type fakeDecrypter struct{ *fakeObject }

// Decrypt implements crypto.Decrypter.
func (d *fakeDecrypter) Decrypt(_ io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return d.DecryptContext(context.Background(), ciphertext, opts)
}

// DecryptContext implements [provider.Decrypter].
func (d *fakeDecrypter) DecryptContext(ctx context.Context, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return d.use(ctx, "Decrypt", provider.UseDecrypt, func(key provider.ParsedMaterial) ([]byte, error) {
		label, err := oaepLabel(opts)
		if err != nil {
			return nil, err
		}
		plaintext, err := rsa.DecryptOAEP(sha256.New(), nil, key.Private.(*rsa.PrivateKey), ciphertext, label)
		if err != nil {
			return nil, provider.Invalidf("ciphertext of %d bytes: not one for this key and label", len(ciphertext))
		}
		return plaintext, nil
	})
}

func oaepLabel(opts crypto.DecrypterOpts) ([]byte, error) {
	if opts == nil {
		return nil, nil
	}
	o, ok := opts.(*rsa.OAEPOptions)
	if !ok || o == nil || o.Hash != crypto.SHA256 || o.MGFHash != 0 && o.MGFHash != crypto.SHA256 {
		return nil, provider.Invalidf("decrypt: options of type %T, want nil or *rsa.OAEPOptions with SHA-256", opts)
	}
	return o.Label, nil
}

// AEAD implements [provider.Encrypting].
func (f *Fake) AEAD(ctx context.Context, kid string, version int) (provider.AEAD, error) {
	o, err := f.object(ctx, job{"AEAD", only(provider.AES256GCM), []provider.KeyUse{provider.UseEncrypt, provider.UseDecrypt}}, kid, version)
	if err != nil {
		return nil, err
	}
	return &fakeAEAD{o}, nil
}

type fakeAEAD struct{ *fakeObject }

// Encrypt implements [provider.AEAD].
func (a *fakeAEAD) Encrypt(ctx context.Context, plaintext, additionalData []byte) ([]byte, error) {
	return a.use(ctx, "Encrypt", provider.UseEncrypt, func(key provider.ParsedMaterial) ([]byte, error) {
		c, err := gcm(key.Symmetric)
		if err != nil {
			return nil, err
		}
		return c.Seal(nil, nil, plaintext, additionalData), nil
	})
}

// Decrypt implements [provider.AEAD].
func (a *fakeAEAD) Decrypt(ctx context.Context, message, additionalData []byte) ([]byte, error) {
	return a.use(ctx, "Decrypt", provider.UseDecrypt, func(key provider.ParsedMaterial) ([]byte, error) {
		c, err := gcm(key.Symmetric)
		if err != nil {
			return nil, err
		}
		plaintext, err := c.Open(nil, nil, message, additionalData)
		if err != nil {
			return nil, provider.Invalidf("message of %d bytes: not one of this key and additional data", len(message))
		}
		return plaintext, nil
	})
}

func gcm(key provider.Secret) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key.Expose())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// MAC implements [provider.Authenticating].
func (f *Fake) MAC(ctx context.Context, kid string, version int) (provider.MAC, error) {
	o, err := f.object(ctx, job{"MAC", only(provider.HMACSHA256), []provider.KeyUse{provider.UseSign, provider.UseVerify}}, kid, version)
	if err != nil {
		return nil, err
	}
	return &fakeMAC{o}, nil
}

type fakeMAC struct{ *fakeObject }

// Sum implements [provider.MAC].
func (m *fakeMAC) Sum(ctx context.Context, message []byte) ([]byte, error) {
	return m.use(ctx, "Sum", provider.UseSign, func(key provider.ParsedMaterial) ([]byte, error) {
		return hmacSum(key.Symmetric, message), nil
	})
}

// Verify implements [provider.MAC].
func (m *fakeMAC) Verify(ctx context.Context, message, code []byte) error {
	_, err := m.use(ctx, "Verify", provider.UseVerify, func(key provider.ParsedMaterial) ([]byte, error) {
		if !hmac.Equal(hmacSum(key.Symmetric, message), code) {
			return nil, provider.Invalidf("code of %d bytes: not that of the message", len(code))
		}
		return nil, nil
	})
	return err
}

func hmacSum(key provider.Secret, message []byte) []byte {
	h := hmac.New(sha256.New, key.Expose())
	h.Write(message)
	return h.Sum(nil)
}

// ECDH implements [provider.KeyAgreement].
func (f *Fake) ECDH(ctx context.Context, kid string, version int, peer *ecdh.PublicKey) (provider.Secret, error) {
	j := job{"ECDH", only(provider.X25519), []provider.KeyUse{provider.UseDerive}}
	return call(ctx, f, j.method, func(s *fakeStore) (provider.Secret, error) {
		v, _, err := s.pick(j, kid, version)
		if err != nil {
			return provider.Secret{}, err
		}
		shared, err := v.key.Private.(*ecdh.PrivateKey).ECDH(peer)
		if err != nil {
			return provider.Secret{}, provider.Invalidf("peer's public key: a point of low order")
		}
		defer clear(shared)
		return provider.NewSecret(shared), nil
	}, provider.ValidateKID(kid), provider.ValidateVersion(version), validatePeer(peer))
}

func validatePeer(peer *ecdh.PublicKey) error {
	if peer == nil || peer.Curve() != ecdh.X25519() {
		return provider.Invalidf("peer's public key: want one of X25519")
	}
	return nil
}

// ExportKey implements [provider.Exporting].
func (f *Fake) ExportKey(ctx context.Context, kid string, version int) (provider.Secret, error) {
	return call(ctx, f, "ExportKey", func(s *fakeStore) (provider.Secret, error) {
		v, ref, err := s.find(kid, version)
		if err != nil {
			return provider.Secret{}, err
		}
		if ref.Export != provider.ExportSecretWhenAllowed || !ref.Private {
			return provider.Secret{}, fmt.Errorf("%w: %q has the policy %s", provider.ErrNotExportable, ref.JWKKID(), ref.Export)
		}
		if ref.Alg.Class() == provider.Symmetric {
			return provider.NewSecret(v.key.Symmetric.Expose()), nil
		}
		der, err := x509.MarshalPKCS8PrivateKey(v.key.Private)
		if err != nil {
			return provider.Secret{}, fmt.Errorf("PKCS #8: %w", err)
		}
		defer clear(der)
		return provider.NewSecret(der), nil
	}, provider.ValidateKID(kid), provider.ValidateVersion(version))
}
