package softfile

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// AEAD implements [provider.Encrypting]. [provider.ErrAuth] if the store was opened without a passphrase.
func (s *Store) AEAD(ctx context.Context, kid string, version int) (provider.AEAD, error) {
	o, err := s.object(ctx, job{"encrypt", only(provider.AES256GCM), []provider.KeyUse{provider.UseEncrypt, provider.UseDecrypt}}, kid, version)
	if err != nil {
		return nil, err
	}
	key := o.key().Symmetric
	defer key.Wipe() // the cipher has expanded it
	block, err := aes.NewCipher(key.Expose())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", provider.ErrTampered, err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", provider.ErrUnsupported, err)
	}
	return &aead{o, gcm.Seal, gcm.Open}, nil
}

type aead struct {
	*object
	// The methods of the cipher, and not the cipher, for the reason of object.key.
	seal func(dst, nonce, plaintext, additionalData []byte) []byte
	open func(dst, nonce, message, additionalData []byte) ([]byte, error)
}

// Encrypt implements [provider.AEAD].
func (a *aead) Encrypt(ctx context.Context, plaintext, additionalData []byte) ([]byte, error) {
	if err := a.may(ctx, provider.UseEncrypt); err != nil {
		return nil, err
	}
	return a.seal(nil, nil, plaintext, additionalData), nil
}

// Decrypt implements [provider.AEAD].
func (a *aead) Decrypt(ctx context.Context, message, additionalData []byte) ([]byte, error) {
	if err := a.may(ctx, provider.UseDecrypt); err != nil {
		return nil, err
	}
	plaintext, err := a.open(nil, nil, message, additionalData)
	if err != nil {
		return nil, provider.Invalidf("message of %d bytes: not one of key %q with this additional data", len(message), a.ref.JWKKID())
	}
	return plaintext, nil
}

// MAC implements [provider.Authenticating]. [provider.ErrAuth] if the store was opened without a passphrase.
func (s *Store) MAC(ctx context.Context, kid string, version int) (provider.MAC, error) {
	o, err := s.object(ctx, job{"authenticate", only(provider.HMACSHA256), []provider.KeyUse{provider.UseSign, provider.UseVerify}}, kid, version)
	if err != nil {
		return nil, err
	}
	return &mac{o}, nil
}

type mac struct{ *object }

// Sum implements [provider.MAC].
func (m *mac) Sum(ctx context.Context, message []byte) ([]byte, error) {
	if err := m.may(ctx, provider.UseSign); err != nil {
		return nil, err
	}
	return m.sum(message), nil
}

// Verify implements [provider.MAC].
func (m *mac) Verify(ctx context.Context, message, code []byte) error {
	if err := m.may(ctx, provider.UseVerify); err != nil {
		return err
	}
	if !hmac.Equal(m.sum(message), code) {
		return provider.Invalidf("code of %d bytes: not that of the message under key %q", len(code), m.ref.JWKKID())
	}
	return nil
}

func (m *mac) sum(message []byte) []byte {
	h := hmac.New(sha256.New, m.key().Symmetric.Expose())
	h.Write(message)
	return h.Sum(nil)
}
