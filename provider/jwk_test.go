package provider_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func fromB64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

// The key of RFC 7638 section 3.1.
func rfc7638Key(t *testing.T) *rsa.PublicKey {
	t.Helper()
	n := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W" +
		"-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyr" +
		"dkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	return &rsa.PublicKey{N: new(big.Int).SetBytes(fromB64(t, n)), E: 65537}
}

// The keys of RFC 8037 appendix A.2 and A.6.
const (
	rfc8037Ed25519 = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfc8037X25519  = "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"
)

func TestThumbprintVectors(t *testing.T) {
	got, err := provider.Thumbprint(rfc7638Key(t))
	require.NoError(t, err)
	require.Equal(t, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", got, "RFC 7638 section 3.1")
	got, err = provider.Thumbprint(ed25519.PublicKey(fromB64(t, rfc8037Ed25519)))
	require.NoError(t, err)
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", got, "RFC 8037 appendix A.3")
	_, err = provider.Thumbprint("no key")
	require.ErrorIs(t, err, provider.ErrInvalid)
}

func TestJWK(t *testing.T) {
	x25519, err := ecdh.X25519().NewPublicKey(fromB64(t, rfc8037X25519))
	require.NoError(t, err)
	tests := []struct {
		name   string
		alg    provider.KeyAlg
		public crypto.PublicKey
		want   string
	}{
		{"RFC 8037 A.2", provider.Ed25519, ed25519.PublicKey(fromB64(t, rfc8037Ed25519)), `{
			"kid": "k.7", "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
			"use": "sig", "alg": "EdDSA", "key_ops": ["verify"]}`},
		{"RFC 8037 A.6", provider.X25519, x25519, `{
			"kid": "k.7", "kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
			"use": "enc", "alg": "ECDH-ES"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := provider.KeyRef{KID: "k", Version: 7, Alg: tt.alg, Uses: tt.alg.Uses()}
			key, err := provider.NewJWK(ref, tt.public)
			require.NoError(t, err)
			require.JSONEq(t, tt.want, string(key.JSON()))
			require.Equal(t, "k.7", key.JWKKID())
			require.Equal(t, tt.alg, key.Alg())
			require.Equal(t, tt.public, key.PublicKey())
			text, err := json.Marshal(struct{ Key provider.JWK }{key})
			require.NoError(t, err)
			require.JSONEq(t, `{"Key":`+tt.want+`}`, string(text))
		})
	}
}

// RFC 7517 section 4.3: what others may do with the public half, of what the version may do.
func TestKeyOpsFollowTheUses(t *testing.T) {
	for _, tt := range []struct {
		name string
		alg  provider.KeyAlg
		uses []provider.KeyUse
		want []string
	}{
		{"a key that only decrypts is encrypted to", provider.RSAOAEPSHA256, []provider.KeyUse{provider.UseDecrypt}, []string{"encrypt"}},
		{"a key that only unwraps is wrapped for", provider.RSAOAEPSHA256, []provider.KeyUse{provider.UseUnwrap}, []string{"wrapKey"}},
		{"all uses of RSA-OAEP", provider.RSAOAEPSHA256, provider.RSAOAEPSHA256.Uses(), []string{"encrypt", "wrapKey"}},
		{"a key that only signs is verified with", provider.RSAPSSSHA256, []provider.KeyUse{provider.UseSign}, []string{"verify"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: tt.alg, Uses: tt.uses}, rfc7638Key(t))
			require.NoError(t, err)
			var members struct {
				Ops []string `json:"key_ops"`
			}
			require.NoError(t, json.Unmarshal(key.JSON(), &members))
			require.Equal(t, tt.want, members.Ops)
		})
	}
}

// A coordinate that begins with a zero byte keeps it (RFC 7518 section 6.2.1.2), and a thumbprint depends on that.
func TestJWKCoordinatesHaveFullLength(t *testing.T) {
	sizes := map[provider.KeyAlg]int{provider.ECDSAP256SHA256: 32, provider.ECDSAP384SHA384: 48, provider.ECDSAP521SHA512: 66}
	for range 300 { // one in 128 has a leading zero in x or y; P-521 nearly all
		keys := privateKeys(t)
		for alg, size := range sizes {
			key, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, publicOf(keys[alg]))
			require.NoError(t, err)
			var members struct{ X, Y string }
			require.NoError(t, json.Unmarshal(key.JSON(), &members))
			require.Len(t, fromB64(t, members.X), size)
			require.Len(t, fromB64(t, members.Y), size)
		}
	}
}

func TestJWKOfNoPairIsRefused(t *testing.T) {
	public := rfc7638Key(t)
	for _, alg := range []provider.KeyAlg{provider.AES256GCM, provider.HMACSHA256} {
		_, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, nil)
		require.ErrorIs(t, err, provider.ErrUnsupported)
	}
	_, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: provider.Ed25519}, public)
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: provider.RSAPSSSHA256}, nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: "ROT13"}, public)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

// The original's defect M24: a private key given as the public one was served as public.
func TestJWKTakesNoPrivateKey(t *testing.T) {
	for alg, private := range privateKeys(t) {
		_, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, private)
		require.ErrorIs(t, err, provider.ErrInvalid, alg)
	}
}

func TestJWKKeepsWhatItWasMadeOf(t *testing.T) {
	ref := provider.KeyRef{
		KID: "k", Version: 1, Alg: provider.RSAPSSSHA256, Uses: []provider.KeyUse{provider.UseVerify}, Tags: map[string]string{"a": "1"},
		Provenance: provider.Provenance{Source: provider.Primary, Reason: "first"},
	}
	key, err := provider.NewJWK(ref, rfc7638Key(t))
	require.NoError(t, err)
	ref.Tags["a"] = "spoilt"
	key.Ref().Tags["a"] = "spoilt too"
	clear(key.JSON())
	require.Equal(t, "1", key.Ref().Tags["a"])
	require.True(t, json.Valid(key.JSON()))
	require.Equal(t, "first", key.Provenance.Reason)
	key.Provenance.Reason = "second"
	require.Equal(t, "second", key.Ref().Provenance.Reason, "whoever passes the answer on says so in one place")

	jwx, err := key.Key()
	require.NoError(t, err)
	require.NoError(t, jwx.Set("kid", "spoilt"))
	require.Equal(t, "k.1", key.JWKKID())
	require.NotContains(t, string(key.JSON()), "spoilt")
}

func TestNoJWKIsNull(t *testing.T) {
	text, err := json.Marshal(provider.JWK{})
	require.NoError(t, err)
	require.Equal(t, "null", string(text))
}

func TestTheZeroJWKAnswers(t *testing.T) { // a caller may have overlooked the error that it came with
	var none provider.JWK
	require.Zero(t, none.Alg())
	require.Zero(t, none.Ref())
	require.Zero(t, none.Thumbprint())
	require.Nil(t, none.PublicKey())
	require.Equal(t, "null", string(none.JSON()))
	require.ErrorIs(t, none.Verify([]byte("m"), []byte("s")), provider.ErrUnsupported)
	_, err := none.Key()
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.Equal(t, `{"keys":[]}`, string(provider.NewJWKSet([]provider.JWK{none, none}, provider.Provenance{}).JSON()))
}
