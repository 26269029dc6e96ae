package softfile

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	jwxjwe "github.com/lestrrat-go/jwx/v2/jwe"
	"github.com/stretchr/testify/require"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// The vectors of RFC 3394 section 4 with a key encryption key of 256 bits.
func TestKeyWrapOfRFC3394(t *testing.T) {
	kek := unhex(t, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")
	tests := []struct{ name, key, wrapped string }{
		{"4.3: 128 bits", "00112233445566778899AABBCCDDEEFF", "64E8C3F9CE0F5BA2 63E9777905818A2A 93C8191E7D6E8AE7"},
		{"4.5: 192 bits", "00112233445566778899AABBCCDDEEFF0001020304050607",
			"A8F9BC1612C68B3F F6E6F4FBE30E71E4 769C8B80A32CB895 8CD5D17D6B254DA1"},
		{"4.6: 256 bits", "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
			"28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wrapped, err := wrapKey(kek, unhex(t, tt.key))
			require.NoError(t, err)
			require.Equal(t, unhex(t, tt.wrapped), wrapped)
			key, err := unwrapKey(kek, wrapped)
			require.NoError(t, err)
			require.Equal(t, unhex(t, tt.key), key)
			for i := range wrapped {
				bad := bytes.Clone(wrapped)
				bad[i] ^= 1
				_, err := unwrapKey(kek, bad)
				require.ErrorIs(t, err, errUnwrap)
			}
		})
	}
	for _, short := range [][]byte{nil, make([]byte, 8), make([]byte, 16), make([]byte, 25)} {
		_, err := unwrapKey(kek, short)
		require.ErrorIs(t, err, errUnwrap)
	}
}

// Another implementation reads what this one writes, and the reverse. Of PBES2 it takes 10,000 iterations at most, unless a
// setting of the whole process is changed.
func TestOtherJOSEImplementationsReadOurs(t *testing.T) {
	kek, plaintext := random(keySize), []byte(`{"kty":"oct","k":"AA"}`)
	ours, err := sealJWE(jweHeader{Alg: algStoreKey, KID: "id"}, kek, plaintext)
	require.NoError(t, err)
	got, err := jwxjwe.Decrypt([]byte(ours), jwxjwe.WithKey(jwa.A256KW, kek))
	require.NoError(t, err)
	require.Equal(t, plaintext, got)

	h := jweHeader{Alg: algPassphrase, KID: "id", P2S: b64.EncodeToString(random(saltSize)), P2C: 10_000}
	derived, err := h.derive([]byte("open sesame"))
	require.NoError(t, err)
	ours, err = sealJWE(h, derived, plaintext)
	require.NoError(t, err)
	got, err = jwxjwe.Decrypt([]byte(ours), jwxjwe.WithKey(jwa.PBES2_HS512_A256KW, []byte("open sesame")))
	require.NoError(t, err)
	require.Equal(t, plaintext, got)
}

func TestWeReadOthers(t *testing.T) {
	headers := jwxjwe.NewHeaders()
	require.NoError(t, headers.Set("cty", ctyJWK))
	require.NoError(t, headers.Set("kid", "id"))
	for alg, key := range map[jwa.KeyEncryptionAlgorithm][]byte{jwa.A256KW: random(keySize), jwa.PBES2_HS512_A256KW: []byte("open sesame")} {
		theirs, err := jwxjwe.Encrypt([]byte("{}"), jwxjwe.WithKey(alg, key), jwxjwe.WithContentEncryption(jwa.A256GCM), jwxjwe.WithProtectedHeaders(headers))
		require.NoError(t, err)
		j, err := parseJWE(string(theirs))
		require.NoError(t, err)
		if alg == jwa.PBES2_HS512_A256KW {
			key, err = j.header.derive(key)
			require.NoError(t, err)
		}
		plaintext, err := j.open(key)
		require.NoError(t, err)
		require.Equal(t, "{}", string(plaintext))
	}
}

func TestAChangedJWEDoesNotOpen(t *testing.T) {
	kek := random(keySize)
	text, err := sealJWE(jweHeader{Alg: algStoreKey, KID: "id"}, kek, []byte("secret"))
	require.NoError(t, err)
	parts := strings.Split(text, ".")
	other, err := sealJWE(jweHeader{Alg: algStoreKey, KID: "id"}, kek, []byte("other"))
	require.NoError(t, err)
	for i, part := range strings.Split(other, ".") {
		mixed := append([]string(nil), parts...)
		if i == 0 { // the headers are the same, so that another one is needed
			part = b64.EncodeToString([]byte(`{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"other"}`))
		}
		mixed[i] = part
		j, err := parseJWE(strings.Join(mixed, "."))
		require.NoError(t, err)
		_, err = j.open(kek)
		require.ErrorIs(t, err, errUnwrap, "part %d", i)
	}
	j, err := parseJWE(text)
	require.NoError(t, err)
	_, err = j.open(random(keySize))
	require.ErrorIs(t, err, errUnwrap)
}

func TestHeadersThatAreRefused(t *testing.T) {
	text, err := sealJWE(jweHeader{Alg: algStoreKey, KID: "id"}, random(keySize), []byte("secret"))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(text, ".")
	salt := b64.EncodeToString(random(saltSize))
	tests := []struct{ name, header, want string }{
		{"compression", `{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","zip":"DEF"}`, `unknown member "zip"`},
		{"critical extensions", `{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","crit":["x"]}`, `unknown member "crit"`},
		{"another content encryption", `{"alg":"A256KW","enc":"A128CBC-HS256","cty":"jwk+json","kid":"id"}`, "want A256GCM"},
		{"another content", `{"alg":"A256KW","enc":"A256GCM","cty":"text","kid":"id"}`, "want A256GCM and jwk+json"},
		{"another key management", `{"alg":"dir","enc":"A256GCM","cty":"jwk+json","kid":"id"}`, `alg "dir"`},
		{"a member twice", `{"alg":"A256KW","alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id"}`, `member "alg" twice`},
		{"no key id", `{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json"}`, "want a kid"},
		{"a password's members without a password", `{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2c":1000}`, "want no p2s and p2c"},
		{"a salt that is too short", `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2s":"AAAA","p2c":1000}`, "want a p2s"},
		{"too few iterations", `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2s":"` + salt + `","p2c":999}`, "p2c of 1000 to"},
		{"iterations for a year", `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2s":"` + salt + `","p2c":4000000000}`, "p2c of 1000 to"},
		{"no JSON", `alg`, "invalid character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseJWE(b64.EncodeToString([]byte(tt.header)) + "." + rest)
			require.ErrorContains(t, err, tt.want)
		})
	}
	for _, bad := range []string{"", "a.b", text + ".x", "?" + text, text[:len(text)-2], strings.Replace(text, ".", ".AA", 1)} {
		_, err := parseJWE(bad)
		require.Error(t, err)
	}
}
