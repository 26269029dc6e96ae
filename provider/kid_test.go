package provider_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestKID(t *testing.T) {
	tests := []struct {
		name  string
		kid   string
		valid bool
	}{
		{"one letter", "a", true},
		{"every kind of character", "AZaz09._-", true},
		{"128 bytes", strings.Repeat("k", 128), true},
		{"a dash first", "-a", true},
		{"dots inside and at the end", "a..b.", true},
		{"empty", "", false},
		{"129 bytes", strings.Repeat("k", 129), false},
		{"a dot", ".", false},
		{"two dots", "..", false},
		{"a dot first", ".a", false},
		{"a slash", "a/b", false},
		{"a NUL", "a\x00", false},
		{"a line end", "a\n", false},
		{"a space", "a b", false},
		{"a letter beyond ASCII", "ä", false},
		{"no UTF-8", "a\xff", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := provider.ValidateKID(tt.kid)
			if tt.valid {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, provider.ErrInvalid)
		})
	}
}

func TestNewKIDIsValidAndNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		kid := provider.NewKID()
		require.NoError(t, provider.ValidateKID(kid))
		require.Len(t, kid, 32, "128 bits")
		seen[kid] = true
	}
	require.Len(t, seen, 100)
}

func TestSplitJWKKID(t *testing.T) {
	tests := []struct {
		in      string
		kid     string
		version int
		ok      bool
	}{
		{"payments.3", "payments", 3, true},
		{"a.b.12", "a.b", 12, true},
		{"1.1", "1", 1, true},
		{"a..1", "a.", 1, true},
		{strings.Repeat("k", 128) + ".1", strings.Repeat("k", 128), 1, true},
		{"payments", "", 0, false},
		{"7", "", 0, false},
		{"", "", 0, false},
		{".1", "", 0, false},
		{"..1", "", 0, false},
		{"payments.", "", 0, false},
		{"payments.0", "", 0, false},
		{"payments.-1", "", 0, false},
		{"payments.+1", "", 0, false},
		{"payments.01", "", 0, false},
		{"payments.1x", "", 0, false},
		{"payments.99999999999999999999", "", 0, false},
		{"a/b.1", "", 0, false},
		{strings.Repeat("k", 129) + ".1", "", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			kid, version, ok := provider.SplitJWKKID(tt.in)
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.kid, kid)
			require.Equal(t, tt.version, version)
		})
	}
}

func FuzzSplitJWKKID(f *testing.F) {
	for _, s := range []string{"payments.3", "a..1", ".1", "a.01", "a.1.2", "\x00.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kid, version, ok := provider.SplitJWKKID(s)
		if !ok {
			require.Empty(t, kid)
			require.Zero(t, version)
			return
		}
		require.NoError(t, provider.ValidateKID(kid))
		require.Positive(t, version)
		require.Equal(t, s, provider.JWKKID(kid, version), "the same name back: no two names for one version")
	})
}
