package provider_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestVerify(t *testing.T) {
	message := []byte("pay alice")
	for alg, private := range privateKeys(t) {
		if !alg.Signs() {
			continue
		}
		t.Run(string(alg), func(t *testing.T) {
			key, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, publicOf(private))
			require.NoError(t, err)
			signature, err := private.(crypto.Signer).Sign(rand.Reader, alg.Digest(message), alg.SignerOpts())
			require.NoError(t, err)
			require.NoError(t, key.Verify(message, signature))

			changed := slices.Clone(signature)
			changed[len(changed)-1] ^= 1
			for name, err := range map[string]error{
				"another message":     key.Verify([]byte("pay mallory"), signature),
				"a changed signature": key.Verify(message, changed),
				"half a signature":    key.Verify(message, signature[:len(signature)/2]),
				"no signature":        key.Verify(message, nil),
			} {
				require.ErrorIs(t, err, provider.ErrInvalid, name)
			}
		})
	}
}

func TestVerifyTakesOnlyTheKeysOwnPadding(t *testing.T) {
	digest := sha256.Sum256([]byte("m"))
	pkcs1, err := rsa.SignPKCS1v15(rand.Reader, rsaKey(), crypto.SHA256, digest[:])
	require.NoError(t, err)
	otherSalt, err := rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 20})
	require.NoError(t, err)
	key, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: provider.RSAPSSSHA256}, &rsaKey().PublicKey)
	require.NoError(t, err)
	require.ErrorIs(t, key.Verify([]byte("m"), pkcs1), provider.ErrInvalid)
	require.ErrorIs(t, key.Verify([]byte("m"), otherSalt), provider.ErrInvalid, "RFC 7518 section 3.5: the salt is as long as the hash")
}

// RFC 8037 appendix A.4 and A.5.
func TestVerifyVector(t *testing.T) {
	key, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: provider.Ed25519}, ed25519.PublicKey(fromB64(t, rfc8037Ed25519)))
	require.NoError(t, err)
	signature := fromB64(t, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	require.NoError(t, key.Verify([]byte("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"), signature))
}

func TestVerifyWithAKeyThatMakesNoSignatures(t *testing.T) {
	for _, alg := range []provider.KeyAlg{provider.X25519, provider.RSAOAEPSHA256} {
		key, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, publicOf(privateKeys(t)[alg]))
		require.NoError(t, err)
		require.ErrorIs(t, key.Verify([]byte("m"), make([]byte, 64)), provider.ErrUnsupported)
	}
}

func TestDigestIsTheMessageIfTheSchemeHashesByItself(t *testing.T) {
	sum := sha256.Sum256([]byte("m"))
	require.Equal(t, sum[:], provider.ECDSAP256SHA256.Digest([]byte("m")))
	require.Len(t, provider.ECDSAP384SHA384.Digest([]byte("m")), 48)
	require.Len(t, provider.ECDSAP521SHA512.Digest([]byte("m")), 64)
	require.Equal(t, []byte("m"), provider.Ed25519.Digest([]byte("m")))
}
