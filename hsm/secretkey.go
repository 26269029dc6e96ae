package hsm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Sizes of AES-GCM as AEAD uses it, in bytes.
const (
	gcmNonce = 12
	gcmTag   = 16
)

// AEAD returns the cipher of a version (CKM_AES_GCM). The nonce comes from this process's generator: a token that is asked
// for one first costs a call more and gives no better one.
func (t *Token) AEAD(ctx context.Context, kid string, n int) (provider.AEAD, error) {
	k, v, err := t.lookupVersion(ctx, kid, n)
	if err != nil {
		return nil, err
	}
	if err := v.usable("encrypt", v.Alg == provider.AES256GCM, provider.UseEncrypt, provider.UseDecrypt); err != nil {
		return nil, err
	}
	return &aead{held{t, v, k.ref(v, now())}}, nil
}

type aead struct{ held }

var _ provider.AEAD = (*aead)(nil)

func (a *aead) Encrypt(ctx context.Context, plaintext, additionalData []byte) ([]byte, error) {
	if !a.ref.Allows(provider.UseEncrypt) {
		return nil, provider.Invalidf("encrypt with %q: its uses are %v", a.ref.JWKKID(), a.ref.Uses)
	}
	nonce := make([]byte, gcmNonce, gcmNonce+len(plaintext)+gcmTag)
	rand.Read(nonce)
	sealed, err := a.use(ctx, func(key *object) ([]byte, error) {
		return a.t.link.encrypt(ctx, key, mechanism{typ: ckmAESGCM, gcm: &gcmParams{nonce, additionalData}}, plaintext)
	})
	if err != nil {
		return nil, err
	}
	return append(nonce, sealed...), nil
}

func (a *aead) Decrypt(ctx context.Context, message, additionalData []byte) ([]byte, error) {
	if !a.ref.Allows(provider.UseDecrypt) {
		return nil, provider.Invalidf("decrypt with %q: its uses are %v", a.ref.JWKKID(), a.ref.Uses)
	}
	if len(message) < gcmNonce+gcmTag {
		return nil, errGCM
	}
	plain, err := a.use(ctx, func(key *object) ([]byte, error) {
		return a.t.link.decrypt(ctx, key, mechanism{typ: ckmAESGCM, gcm: &gcmParams{message[:gcmNonce], additionalData}}, message[gcmNonce:])
	})
	var e *Error
	if errors.Is(err, provider.ErrInvalid) && errors.As(err, &e) {
		return nil, errGCM
	}
	return plain, err
}

var errGCM = provider.Invalidf("message: this key did not make it with this additional data")

// MAC returns the authenticator of a version (CKM_SHA256_HMAC).
func (t *Token) MAC(ctx context.Context, kid string, n int) (provider.MAC, error) {
	k, v, err := t.lookupVersion(ctx, kid, n)
	if err != nil {
		return nil, err
	}
	if err := v.usable("authenticate", v.Alg == provider.HMACSHA256, provider.UseSign, provider.UseVerify); err != nil {
		return nil, err
	}
	return &mac{held{t, v, k.ref(v, now())}}, nil
}

type mac struct{ held }

var _ provider.MAC = (*mac)(nil)

func (m *mac) Sum(ctx context.Context, message []byte) ([]byte, error) {
	if !m.ref.Allows(provider.UseSign) {
		return nil, provider.Invalidf("authenticate with %q: its uses are %v", m.ref.JWKKID(), m.ref.Uses)
	}
	return m.use(ctx, func(key *object) ([]byte, error) {
		return m.t.link.sign(ctx, key, mechanism{typ: ckmSHA256HMAC}, message)
	})
}

func (m *mac) Verify(ctx context.Context, message, code []byte) error {
	if !m.ref.Allows(provider.UseVerify) {
		return provider.Invalidf("verify with %q: its uses are %v", m.ref.JWKKID(), m.ref.Uses)
	}
	if len(code) != sha256.Size {
		return errMAC
	}
	_, err := m.use(ctx, func(key *object) ([]byte, error) {
		return nil, m.t.link.verify(ctx, key, mechanism{typ: ckmSHA256HMAC}, message, code)
	})
	var e *Error
	if errors.Is(err, provider.ErrInvalid) && errors.As(err, &e) {
		return errMAC
	}
	return err
}

var errMAC = provider.Invalidf("code is not that of this key over this message")
