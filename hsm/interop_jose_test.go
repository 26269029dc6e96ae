//go:build cgo

package hsm

import (
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// TestJoseVerifies verifies JWSs of ours, under the JWK Set with both versions of the key, by a JOSE implementation in C. It knows no Ed25519.
func TestJoseVerifies(t *testing.T) {
	requireProgram(t, "jose")
	token := open(t, sharedToken)
	for _, alg := range []provider.KeyAlg{
		provider.ECDSAP256SHA256, provider.ECDSAP384SHA384, provider.ECDSAP521SHA512, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256,
	} {
		t.Run(string(alg), func(t *testing.T) {
			first := createKey(t, token, alg)
			second, err := token.RotateKey(t.Context(), first.KID, provider.Rotation{})
			require.NoError(t, err)
			set, err := token.JWKS(t.Context(), first.KID)
			require.NoError(t, err)
			require.Equal(t, 2, set.Len())
			keys := writeFile(t, t.TempDir(), "keys", set.JSON())
			for _, ref := range []provider.KeyRef{first, second} {
				header := jws.NewHeaders()
				require.NoError(t, header.Set(jws.KeyIDKey, ref.JWKKID()))
				text, err := jws.Sign([]byte("a message"), jws.WithKey(jwa.SignatureAlgorithm(alg.JWA()), signerOf(t, token, ref), jws.WithProtectedHeaders(header)))
				require.NoError(t, err)
				require.Equal(t, "a message", runProgram(t, text, "jose", "jws", "ver", "-i-", "-k", keys, "-O-"))

				text[len(text)/2] ^= 1 // in the payload or the signature
				out, err := tryProgram(t, text, "jose", "jws", "ver", "-i-", "-k", keys, "-O-")
				require.Error(t, err, out)
			}
		})
	}
}
