package provider_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func ed25519JWK(t *testing.T, kid string, version int, from provider.Source) provider.JWK {
	t.Helper()
	ref := provider.KeyRef{KID: kid, Version: version, Alg: provider.Ed25519, Provenance: provider.Provenance{Source: from}}
	key, err := provider.NewJWK(ref, publicOf(privateKeys(t)[provider.Ed25519]))
	require.NoError(t, err)
	return key
}

func names(s provider.JWKSet) (names []string) {
	for _, k := range s.Keys() {
		names = append(names, k.JWKKID())
	}
	return names
}

func TestJWKSetIsSortedByKIDAndNumber(t *testing.T) {
	var keys []provider.JWK
	for _, k := range []struct {
		kid     string
		version int
	}{{"b", 2}, {"b", 10}, {"a.b", 1}, {"b", 1}, {"a", 11}, {"a", 2}, {"B", 1}} {
		keys = append(keys, ed25519JWK(t, k.kid, k.version, provider.Primary))
	}
	set := provider.NewJWKSet(keys, provider.Provenance{Source: provider.Merged})
	require.Equal(t, []string{"B.1", "a.2", "a.11", "a.b.1", "b.1", "b.2", "b.10"}, names(set))
	require.Equal(t, 7, set.Len())
	require.Equal(t, provider.Merged, set.Provenance.Source)
	require.Equal(t, "b.2", keys[0].JWKKID(), "the caller's slice keeps its order")
}

// The original's defect M05: a union that listed keys twice. Of two with one name the first stays: the primary wins.
func TestJWKSetHoldsEachNameOnce(t *testing.T) {
	ours, theirs := ed25519JWK(t, "k", 1, provider.Primary), ed25519JWK(t, "k", 1, provider.Secondary)
	other := ed25519JWK(t, "a", 1, provider.Secondary)
	set := provider.NewJWKSet([]provider.JWK{ours, other, theirs, ours}, provider.Provenance{})
	require.Equal(t, []string{"a.1", "k.1"}, names(set))
	key, ok := set.Key("k.1")
	require.True(t, ok)
	require.Equal(t, ours.Thumbprint(), key.Thumbprint())
	require.Equal(t, provider.Primary, key.Provenance.Source)
	_, ok = set.Key("k.2")
	require.False(t, ok)
}

func TestJWKSetJSON(t *testing.T) {
	a, b := ed25519JWK(t, "a", 1, provider.Primary), ed25519JWK(t, "b", 1, provider.Primary)
	for _, tt := range []struct {
		name string
		set  provider.JWKSet
		want string
	}{
		{"the zero set", provider.JWKSet{}, `{"keys":[]}`},
		{"an empty set", provider.NewJWKSet(nil, provider.Provenance{}), `{"keys":[]}`},
		{"two keys", provider.NewJWKSet([]provider.JWK{b, a}, provider.Provenance{}), `{"keys":[` + string(a.JSON()) + `,` + string(b.JSON()) + `]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, string(tt.set.JSON()))
			text, err := json.Marshal(tt.set)
			require.NoError(t, err)
			require.JSONEq(t, tt.want, string(text))
			var out bytes.Buffer
			n, err := tt.set.WriteTo(&out)
			require.NoError(t, err)
			require.Equal(t, tt.want, out.String())
			require.EqualValues(t, len(tt.want), n)
			jwx, err := tt.set.Set()
			require.NoError(t, err)
			require.Equal(t, tt.set.Len(), jwx.Len())
			clear(tt.set.JSON())
			clear(tt.set.Keys())
			require.Equal(t, tt.want, string(tt.set.JSON()), "the caller owns the answers")
		})
	}
}

func TestJWKSetPassesOnAWriteError(t *testing.T) {
	full := errors.New("no space left")
	_, err := provider.JWKSet{}.WriteTo(failingWriter{full})
	require.ErrorIs(t, err, full)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
