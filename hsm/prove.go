package hsm

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// prove returns nil if the private half on the token and the public half that is about to be published belong together, and
// the key does what its algorithm says: a signature over a nonce verifies, a message comes back, a shared secret agrees. A
// version without a private half, or whose uses forbid the operation, has nothing to prove.
func (t *Token) prove(ctx context.Context, v *version) error {
	if v.private == nil {
		return nil
	}
	var ok bool
	var err error
	nonce := make([]byte, 32)
	rand.Read(nonce)
	h := held{t, v, v.ref()}
	switch {
	case v.Alg.Signs() && h.ref.Allows(provider.UseSign):
		ok, err = h.proveSignature(ctx, nonce)
	case v.Alg == provider.RSAOAEPSHA256 && h.ref.Allows(provider.UseDecrypt):
		ok, err = h.proveDecryption(ctx, nonce)
	case v.Alg == provider.X25519 && h.ref.Allows(provider.UseDerive):
		ok, err = h.proveAgreement(ctx)
	case v.Alg == provider.AES256GCM && h.ref.Allows(provider.UseEncrypt) && h.ref.Allows(provider.UseDecrypt):
		ok, err = proveCipher(ctx, &aead{h}, nonce)
	case v.Alg == provider.HMACSHA256 && h.ref.Allows(provider.UseSign) && h.ref.Allows(provider.UseVerify):
		ok, err = proveMAC(ctx, &mac{h}, nonce)
	default:
		return nil
	}
	if errors.Is(err, errOAEP) || errors.Is(err, errGCM) || errors.Is(err, errMAC) { // nobody gave us what it refuses
		ok, err = false, nil
	}
	switch {
	case errors.Is(err, provider.ErrNotFound): // the connection was made anew, and only a live version is found again
		return fmt.Errorf("prove %q: %w", v.jwkKID(), errMoved)
	case err != nil:
		return fmt.Errorf("prove %q: %w", v.jwkKID(), err)
	case !ok:
		return fmt.Errorf("%w: prove %q: what one use of the key made does not fit another", provider.ErrTampered, v.jwkKID())
	}
	return nil
}

func (h held) proveSignature(ctx context.Context, nonce []byte) (bool, error) {
	s := signer{held: h}
	signature, err := s.SignContext(ctx, h.v.Alg.Digest(nonce), h.v.Alg.SignerOpts())
	return err == nil && h.v.jwk.Verify(nonce, signature) == nil, err
}

func (h held) proveDecryption(ctx context.Context, nonce []byte) (bool, error) {
	public, ok := h.v.public.(*rsa.PublicKey)
	if !ok {
		return false, nil
	}
	message, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, nonce, nil)
	if err != nil {
		return false, err
	}
	d := decrypter{h}
	plain, err := d.DecryptContext(ctx, message, nil)
	return bytes.Equal(plain, nonce), err
}

func (h held) proveAgreement(ctx context.Context) (bool, error) {
	public, ok := h.v.public.(*ecdh.PublicKey)
	peer, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil || !ok {
		return false, err
	}
	want, err := peer.ECDH(public)
	if err != nil {
		return false, err
	}
	got, err := h.agree(ctx, peer.PublicKey())
	return subtle.ConstantTimeCompare(got, want) == 1, err
}

func proveCipher(ctx context.Context, a *aead, nonce []byte) (bool, error) {
	message, err := a.Encrypt(ctx, nonce, nil)
	if err != nil {
		return false, err
	}
	plain, err := a.Decrypt(ctx, message, nil)
	return bytes.Equal(plain, nonce), err
}

func proveMAC(ctx context.Context, m *mac, nonce []byte) (bool, error) {
	code, err := m.Sum(ctx, nonce)
	if err != nil {
		return false, err
	}
	return len(code) == sha256.Size, m.Verify(ctx, nonce, code)
}

// agrees tells whether the secret key on the token is the given one, by what both make of a nonce. A key whose uses forbid that is
// taken for it.
func (h held) agrees(ctx context.Context, key []byte) (bool, error) {
	nonce := make([]byte, 32)
	rand.Read(nonce)
	switch {
	case h.v.Alg == provider.HMACSHA256 && h.ref.Allows(provider.UseSign):
		code, err := (&mac{h}).Sum(ctx, nonce)
		own := hmac.New(sha256.New, key)
		own.Write(nonce)
		return hmac.Equal(code, own.Sum(nil)), err
	case h.v.Alg == provider.AES256GCM && h.ref.Allows(provider.UseEncrypt):
		message, err := (&aead{h}).Encrypt(ctx, nonce, nil)
		if err != nil {
			return false, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return false, err
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return false, err
		}
		plain, err := gcm.Open(nil, message[:gcmNonce], message[gcmNonce:], nil)
		return err == nil && bytes.Equal(plain, nonce), nil
	}
	return true, nil
}
