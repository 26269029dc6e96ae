package softfile

import (
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	jwxjwe "github.com/lestrrat-go/jwx/v2/jwe"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/keywrap"
)

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
		require.ErrorIs(t, err, keywrap.ErrUnwrap, "part %d", i)
	}
	j, err := parseJWE(text)
	require.NoError(t, err)
	_, err = j.open(random(keySize))
	require.ErrorIs(t, err, keywrap.ErrUnwrap)
}

func TestHeadersAtTheirBoundsAreTaken(t *testing.T) {
	_, rest, _ := strings.Cut(sealed(t, jweHeader{Alg: algStoreKey, KID: "id"}), ".")
	eight := b64.EncodeToString(random(8))
	for name, header := range map[string]string{
		"a key id of 64 bytes":    `{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"` + strings.Repeat("k", 64) + `"}`,
		"the least of a password": `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2s":"` + eight + `","p2c":1000}`,
		"the most of a password":  `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2s":"` + eight + `","p2c":10000000}`,
	} {
		_, err := parseJWE(b64.EncodeToString([]byte(header)) + "." + rest)
		require.NoError(t, err, name)
	}
}

// An export opens under a passphrase alone, and what stands in a store is none.
func TestAnExportIsUnderAPassphrase(t *testing.T) {
	_, err := parseSetJWE(sealed(t, jweHeader{Alg: algStoreKey, Cty: ctyJWKSet}))
	require.ErrorContains(t, err, "want "+algPassphrase)
	salted := jweHeader{Alg: algPassphrase, P2S: b64.EncodeToString(random(saltSize)), P2C: minIterations}
	_, err = parseSetJWE(sealed(t, salted))
	require.ErrorContains(t, err, "want A256GCM and jwk-set+json")
	_, err = parseSetJWE("a.b")
	require.Error(t, err)
	salted.Cty = ctyJWKSet
	_, err = parseSetJWE(sealed(t, salted))
	require.NoError(t, err)
}

// The parts have their lengths, so that no byte can move from one to its neighbour.
func TestPartsOfAWrongLengthAreRefused(t *testing.T) {
	text := sealed(t, jweHeader{Alg: algStoreKey, KID: "id"})
	for name, longer := range map[string]int{"key": 1, "IV": 2, "tag": 4} {
		parts := strings.Split(text, ".")
		b, err := b64.DecodeString(parts[longer])
		require.NoError(t, err)
		parts[longer] = b64.EncodeToString(append(b, 0))
		_, err = parseJWE(strings.Join(parts, "."))
		require.ErrorContains(t, err, "of the wrong length", name)
		_, err = parseJWE(strings.Join(parts[:4], "."))
		require.ErrorContains(t, err, "want 5")
	}
}

func sealed(t *testing.T, h jweHeader) string {
	t.Helper()
	text, err := sealJWE(h, random(keySize), []byte("secret"))
	require.NoError(t, err)
	return text
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
		{"a salt without a password", `{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2s":"` + salt + `"}`, "want no p2s and p2c"},
		{"a key id of 65 bytes", `{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","kid":"` + strings.Repeat("k", 65) + `"}`, "want a kid of 1 to 64"},
		{"a salt that is no base64url", `{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","cty":"jwk+json","kid":"id","p2s":"` + salt + `=","p2c":1000}`, "want a p2s"},
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
