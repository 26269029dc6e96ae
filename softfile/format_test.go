package softfile

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(b)
}

// ed25519Public is the public half of a key whose private half is all zeros.
func ed25519Public(t *testing.T) provider.KeyMaterial {
	t.Helper()
	m, err := provider.PublicMaterial(ed25519.NewKeyFromSeed(make([]byte, 32)).Public())
	require.NoError(t, err)
	return m
}

// These are the files of docs/softfile-format.md, byte for byte. A change here is a new format.
func TestFilesAreWhatTheDocumentSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where it is the first second of 2000
		dir := t.TempDir()
		s := openedWith(t, Config{Dir: dir})
		spec := provider.KeySpec{KID: "payments", Alg: provider.Ed25519, Label: "card <payments>", Tags: map[string]string{"team": "billing"}}
		_, err := s.ImportKey(t.Context(), spec, ed25519Public(t))
		require.NoError(t, err)
		isDocumented(t, `{
  "format": 1,
  "kid": "payments",
  "version": 1,
  "alg": "ED25519",
  "bits": 256,
  "uses": [
    "sign",
    "verify"
  ],
  "export_policy": "none",
  "label": "card <payments>",
  "tags": {
    "team": "billing"
  },
  "created": "2000-01-01T00:00:00Z",
  "active_from": "2000-01-01T00:00:00Z",
  "retire_after": 0,
  "imported": true,
  "fingerprint": "`+fingerprintOfZeros+`",
  "public": {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"
  }
}
`, read(t, dir, "keys/payments/1.json"))

		time.Sleep(time.Hour)
		_, err = s.DestroyKey(t.Context(), "payments", 1)
		require.NoError(t, err)
		isDocumented(t, `{
  "format": 1,
  "kid": "payments",
  "versions": [
    {
      "version": 1,
      "destroyed": "2000-01-01T01:00:00Z",
      "active_from": "2000-01-01T00:00:00Z"
    }
  ]
}
`, read(t, dir, "keys/payments/destroyed.json"))
		require.NoFileExists(t, filepath.Join(dir, "keys/payments/1.json"))
	})
}

// isDocumented checks a file, and that the document shows it.
func isDocumented(t *testing.T, want, got string) {
	t.Helper()
	require.Equal(t, want, got)
	shown := "    " + strings.TrimSuffix(strings.ReplaceAll(want, "\n", "\n    "), "    ")
	require.Contains(t, read(t, "../docs/softfile-format.md"), shown)
}

const fingerprintOfZeros = "9ZP03Nu8GrXPAUkbKNxHOKBzxPX83SShgFkRNK-f2lw"

func TestPrivateHalvesStandInAJWE(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	_, err := s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	storeKey, err := parseJWE(strings.TrimSuffix(read(t, dir, "storekey.jwe"), "\n"))
	require.NoError(t, err)
	require.Equal(t, jweHeader{Alg: "PBES2-HS512+A256KW", Enc: "A256GCM", Cty: "jwk+json", KID: s.vault.id, P2S: storeKey.header.P2S, P2C: quickly}, storeKey.header)
	var rec record
	require.NoError(t, json.Unmarshal([]byte(read(t, dir, "keys/k/1.json")), &rec))
	j, err := parseJWE(rec.Private)
	require.NoError(t, err)
	require.Equal(t, jweHeader{Alg: "A256KW", Enc: "A256GCM", Cty: "jwk+json", KID: s.vault.id}, j.header)
	require.NoError(t, s.vault.use(func(key []byte) error {
		plaintext, err := j.open(key)
		require.NoError(t, err)
		var jwk map[string]any
		require.NoError(t, json.Unmarshal(plaintext, &jwk))
		require.Equal(t, rec.Public.X, jwk["x"])
		delete(jwk, "x")
		require.Len(t, jwk["d"], 43)
		delete(jwk, "d")
		require.Equal(t, map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "k.1", "alg": "EdDSA", "key_ops": []any{"sign"}, "ext": false}, jwk)
		return nil
	}))
}

func TestADefaultStoreDerivesItsKeyAtFullCost(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	j, err := parseJWE(strings.TrimSuffix(read(t, dir, "storekey.jwe"), "\n"))
	require.NoError(t, err)
	require.Equal(t, 210_000, j.header.P2C)
	salt, err := b64.DecodeString(j.header.P2S)
	require.NoError(t, err)
	require.Len(t, salt, 16)
}

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "86400": 24 * time.Hour, "1.5": 1500 * time.Millisecond, "0.000000001": 1, "9223372036.854775807": 1<<63 - 1,
	} {
		var s seconds
		require.NoError(t, json.Unmarshal([]byte(text), &s))
		require.Equal(t, want, time.Duration(s))
		b, err := json.Marshal(s)
		require.NoError(t, err)
		require.Equal(t, text, string(b))
	}
	for _, bad := range []string{"-1", "1e3", "1.", ".5", "1.0000000001", "99999999999", `"1"`, "true", "9999999999"} {
		var s seconds
		require.Error(t, s.UnmarshalJSON([]byte(bad)), bad)
	}
}

// The thumbprint that a record is checked by is computed here, without a JOSE library, and must be the contract's.
func TestThumbprintIsTheContracts(t *testing.T) {
	for _, public := range publicKeys(t) {
		k, err := newPublicJWK(public)
		require.NoError(t, err)
		want, err := provider.Thumbprint(public)
		require.NoError(t, err)
		require.Equal(t, want, k.thumbprint())
		again, err := k.key()
		require.NoError(t, err)
		require.True(t, samePublic(public, again))
	}
}

func publicKeys(t *testing.T) map[string]any {
	t.Helper()
	keys := map[string]any{"Ed25519": ed25519.NewKeyFromSeed(make([]byte, 32)).Public()}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		keys[curve.Params().Name] = &k.PublicKey
	}
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	keys["X25519"], keys["RSA"] = x.PublicKey(), &r.PublicKey
	return keys
}

func TestPublicJWKsThatAreRefused(t *testing.T) {
	zeros := publicJWK{Kty: "OKP", Crv: "Ed25519", X: "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"}
	require.Equal(t, fingerprintOfZeros, zeros.thumbprint())
	tests := []struct{ name, text string }{
		{"a private member", `{"kty":"OKP","crv":"Ed25519","x":"` + zeros.X + `","d":"AA"}`},
		{"a member of another type of key", `{"kty":"OKP","crv":"Ed25519","x":"` + zeros.X + `","n":"AQAB"}`},
		{"base64 with padding", `{"kty":"OKP","crv":"Ed25519","x":"` + zeros.X + `="}`},
		{"base64 with loose bits", `{"kty":"OKP","crv":"Ed25519","x":"` + zeros.X[:42] + `l"}`},
		{"a short x", `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`},
		{"a symmetric key", `{"kty":"oct","k":"AAAA"}`},
		{"an unknown curve", `{"kty":"EC","crv":"P-224","x":"AA","y":"AA"}`},
		{"a point off the curve", `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`},
		{"a modulus with a leading zero", `{"kty":"RSA","n":"AMPL","e":"AQAB"}`},
		{"an exponent of nine bytes", `{"kty":"RSA","n":"w8s","e":"AQAAAAAAAAAB"}`},
		{"names in capitals", `{"Kty":"OKP","Crv":"Ed25519","X":"` + zeros.X + `"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var k publicJWK
			err := json.Unmarshal([]byte(tt.text), &k)
			if err == nil {
				_, err = k.key()
			}
			require.Error(t, err)
		})
	}
}
