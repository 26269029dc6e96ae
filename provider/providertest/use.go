package providertest

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// works checks that the private or secret half of ref does what o's does, with the standard library on the other side, if
// the store can use such keys.
func (s *suite) works(t *testing.T, ref provider.KeyRef, o outsider) {
	t.Helper()
	if !s.caps.Alg(ref.Alg).Use {
		return
	}
	message := []byte("what " + ref.KID + " is asked")
	switch {
	case ref.Alg.Signs():
		signature, err := s.signer(t, ref).Sign(rand.Reader, ref.Alg.Digest(message), ref.Alg.SignerOpts())
		require.NoError(t, err)
		verifies(t, ref.Alg, o.public, ref.Alg.Hash(), message, signature)
	case ref.Alg == provider.RSAOAEPSHA256:
		ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, o.public.(*rsa.PublicKey), message, nil)
		require.NoError(t, err)
		plaintext, err := s.decrypter(t, ref).Decrypt(rand.Reader, ciphertext, nil)
		require.NoError(t, err)
		require.Equal(t, message, plaintext)
	case ref.Alg == provider.AES256GCM:
		sealed, err := s.aead(t, ref).Encrypt(t.Context(), message, []byte("ad"))
		require.NoError(t, err)
		plaintext, err := outsideGCM(t, o.symmetric).Open(nil, sealed[:12], sealed[12:], []byte("ad"))
		require.NoError(t, err)
		require.Equal(t, message, plaintext)
	case ref.Alg == provider.HMACSHA256:
		code, err := s.mac(t, ref).Sum(t.Context(), message)
		require.NoError(t, err)
		h := hmac.New(sha256.New, o.symmetric)
		h.Write(message)
		require.Equal(t, h.Sum(nil), code)
	case ref.Alg == provider.X25519:
		peer := newOutsider(t, provider.X25519)
		got, err := s.p.(provider.KeyAgreement).ECDH(t.Context(), ref.KID, ref.Version, peer.public.(*ecdh.PublicKey))
		require.NoError(t, err)
		want, err := peer.private.(*ecdh.PrivateKey).ECDH(o.public.(*ecdh.PublicKey))
		require.NoError(t, err)
		require.Equal(t, want, got.Expose())
	}
}

// useErrors returns what the store answers to whoever wants to use the private or secret half of ref, by method.
func (s *suite) useErrors(t *testing.T, ref provider.KeyRef) map[string]error {
	t.Helper()
	errs := map[string]error{}
	if p, ok := s.p.(provider.Signing); ok {
		_, errs["Signer"] = p.Signer(t.Context(), ref.KID, ref.Version)
	}
	if p, ok := s.p.(provider.Decrypting); ok {
		_, errs["Decrypter"] = p.Decrypter(t.Context(), ref.KID, ref.Version)
	}
	if p, ok := s.p.(provider.Encrypting); ok {
		_, errs["AEAD"] = p.AEAD(t.Context(), ref.KID, ref.Version)
	}
	if p, ok := s.p.(provider.Authenticating); ok {
		_, errs["MAC"] = p.MAC(t.Context(), ref.KID, ref.Version)
	}
	if p, ok := s.p.(provider.KeyAgreement); ok {
		peer := newOutsider(t, provider.X25519).public.(*ecdh.PublicKey)
		_, errs["ECDH"] = p.ECDH(t.Context(), ref.KID, ref.Version, peer)
	}
	return errs
}

// ownMethod is the key of useErrors that is meant for keys of alg.
func ownMethod(alg provider.KeyAlg) string {
	switch alg {
	case provider.RSAOAEPSHA256:
		return "Decrypter"
	case provider.AES256GCM:
		return "AEAD"
	case provider.HMACSHA256:
		return "MAC"
	case provider.X25519:
		return "ECDH"
	}
	return "Signer"
}

// testOtherUses checks that a key answers only to the method that is meant for its algorithm.
func (s *suite) testOtherUses(t *testing.T, method string) {
	for _, alg := range s.algs(creates) {
		if ownMethod(alg) == method {
			continue
		}
		t.Run(string(alg), func(t *testing.T) {
			require.ErrorIs(t, s.useErrors(t, s.key(t, alg))[method], provider.ErrUnsupported)
		})
	}
}

func (s *suite) signer(t *testing.T, ref provider.KeyRef) provider.Signer {
	t.Helper()
	signer, err := optional[provider.Signing](t, s.p, "Signing").Signer(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	return signer
}

func (s *suite) decrypter(t *testing.T, ref provider.KeyRef) provider.Decrypter {
	t.Helper()
	d, err := optional[provider.Decrypting](t, s.p, "Decrypting").Decrypter(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	return d
}

func (s *suite) aead(t *testing.T, ref provider.KeyRef) provider.AEAD {
	t.Helper()
	a, err := optional[provider.Encrypting](t, s.p, "Encrypting").AEAD(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	return a
}

func (s *suite) mac(t *testing.T, ref provider.KeyRef) provider.MAC {
	t.Helper()
	m, err := optional[provider.Authenticating](t, s.p, "Authenticating").MAC(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	return m
}

// publicKey returns the public half as the store publishes it.
func (s *suite) publicKey(t *testing.T, ref provider.KeyRef) crypto.PublicKey {
	t.Helper()
	jwk, err := s.p.PublicJWK(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	return jwk.PublicKey()
}

// verifies checks with the standard library that signature is one of message, hashed with hash, in the scheme of alg.
func verifies(t *testing.T, alg provider.KeyAlg, public crypto.PublicKey, hash crypto.Hash, message, signature []byte) {
	t.Helper()
	digest := message
	if hash != 0 {
		digest = digestOf(hash, message)
	}
	switch alg {
	case provider.Ed25519:
		require.True(t, ed25519.Verify(public.(ed25519.PublicKey), message, signature))
	case provider.RSAPKCS1SHA256:
		require.NoError(t, rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), hash, digest, signature))
	case provider.RSAPSSSHA256:
		exact := &rsa.PSSOptions{SaltLength: hash.Size()}
		require.NoError(t, rsa.VerifyPSS(public.(*rsa.PublicKey), hash, digest, signature, exact))
	default:
		require.True(t, ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest, signature))
	}
}

func digestOf(hash crypto.Hash, message []byte) []byte {
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// outsideGCM is the standard library's AES-256-GCM with a 12-byte nonce and a 16-byte tag.
func outsideGCM(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	return gcm
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
