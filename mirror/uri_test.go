package mirror

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestOpenByURI(t *testing.T) {
	dir := tempDir(t)
	uri := "mirrored:?primary=" + url.QueryEscape("softfile:"+dir+"/primary") + "&secondary=" + url.QueryEscape("softfile:"+dir+"/secondary") +
		"&mode=none&fail_open_reads=false&refuse_orphans=true&kid=k&manifest_dir=" + url.QueryEscape(dir+"/state")
	p, err := provider.Open(t.Context(), uri)
	require.NoError(t, err)
	m := p.(*Mirror)
	require.Equal(t, None, m.cfg.Mode)
	require.True(t, m.cfg.NoFailOpenReads)
	require.True(t, m.cfg.RefuseOrphans)
	require.Equal(t, dir+"/state", m.cfg.ManifestDir)
	require.NoError(t, m.Close())
}

func TestURIsThatAreRefused(t *testing.T) {
	const stores = "primary=softfile%3A%2Fno&secondary=softfile%3A%2Fno"
	tests := []struct{ name, uri, want string }{
		{"another scheme", "softfile:?" + stores, "want mirrored:?primary=URI&secondary=URI"},
		{"no query", "mirrored:", "want the attribute primary"},
		{"no secondary", "mirrored:?primary=softfile%3A%2Fa", "want the attribute secondary"},
		{"an unknown attribute", "mirrored:?" + stores + "&faill_open_reads=true", "unknown attribute"},
		{"an attribute twice", "mirrored:?" + stores + "&mode=full&mode=none", "attribute mode is given 2 times"},
		{"an unknown mode", "mirrored:?" + stores + "&mode=public-only", "want public_only, full or none"},
		{"no boolean", "mirrored:?" + stores + "&fail_open_reads=yes", "want true or false"},
		{"an empty boolean", "mirrored:?" + stores + "&refuse_orphans=", "want true or false"},
		{"a store whose scheme nobody knows", "mirrored:?primary=nothing%3A&secondary=nothing%3A", "primary"},
		{"a PIN beside a forgotten percent-encoding", "mirrored:?primary=pkcs11:?pin-value=12&34-5&secondary=x", "unknown attribute"},
		{"broken percent-encoding", "mirrored:?primary=%zz", "percent-encoded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), tt.uri)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "34-5")
		})
	}
}
