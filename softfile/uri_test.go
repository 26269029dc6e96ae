package softfile

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestParseURI(t *testing.T) {
	tests := []struct {
		uri, dir string
		secret   bool
	}{
		{"softfile:/var/lib/keys", "/var/lib/keys", false},
		{"softfile:///var/lib/keys", "/var/lib/keys", false},
		{"SoftFile:keys", "keys", false},
		{"softfile:../my%20keys/", "../my keys", false},
		{"softfile:/a%3Fb%23c", "/a?b#c", false},
		{"softfile:/k?passphrase-source=env:PASS", "/k", true},
		{"softfile:/k?passphrase-source=file:/run/secrets/a%20b&kid=payments&version=3", "/k", true},
	}
	for _, tt := range tests {
		cfg, err := ParseURI(tt.uri)
		require.NoError(t, err, tt.uri)
		require.Equal(t, filepath.FromSlash(tt.dir), cfg.Dir, tt.uri)
		require.Equal(t, tt.secret, cfg.Passphrase != nil, tt.uri)
	}
}

func TestURIsThatAreRefused(t *testing.T) {
	for name, uri := range map[string]string{
		"another scheme":           "pkcs11:token=x",
		"no scheme":                "/var/lib/keys",
		"no path":                  "softfile:",
		"no path but a query":      "softfile:?kid=a",
		"a host":                   "softfile://host/keys",
		"a fragment":               "softfile:/keys#hunter2",
		"bad encoding":             "softfile:/keys%zz",
		"a NUL":                    "softfile:/keys%00",
		"a bad query":              "softfile:/keys?%zz",
		"an unknown attribute":     "softfile:/keys?passphrase=hunter2",
		"an attribute twice":       "softfile:/keys?passphrase-source=env:A&passphrase-source=env:hunter2",
		"a passphrase as a source": "softfile:/keys?passphrase-source=hunter2",
		"a bad kid":                "softfile:/keys?kid=..",
		"a bad version":            "softfile:/keys?kid=a&version=-1",
	} {
		_, err := ParseURI(uri)
		require.ErrorIs(t, err, provider.ErrInvalid, name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
}

func TestOpenByURI(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	t.Setenv("STORE_PASSPHRASE", "open sesame")
	uri := "softfile:" + dir + "?passphrase-source=env:STORE_PASSPHRASE"
	p, err := provider.Open(t.Context(), uri)
	require.NoError(t, err)
	ref, err := p.CreateKey(t.Context(), provider.KeySpec{KID: "payments", Alg: provider.Ed25519})
	require.NoError(t, err)
	require.NoError(t, p.Close())

	p, got, err := provider.OpenKey(t.Context(), "softfile:"+dir+"?kid=payments")
	require.NoError(t, err)
	require.Equal(t, ref.Fingerprint, got.Fingerprint)
	require.NoError(t, p.Close())

	t.Setenv("STORE_PASSPHRASE", "shut sesame")
	p, err = provider.Open(t.Context(), uri)
	require.ErrorIs(t, err, provider.ErrAuth)
	require.Nil(t, p)
	_, err = provider.Open(t.Context(), "softfile:"+dir+"?nonsense=1")
	require.ErrorIs(t, err, provider.ErrInvalid)
}
