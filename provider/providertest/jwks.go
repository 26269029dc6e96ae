package providertest

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testJWKS(t *testing.T) {
	t.Run("holds every published pair, and no symmetric key", s.testJWKSAll)
	t.Run("leaves out what the prefix does not begin", s.testJWKSPrefix)
	t.Run("of a prefix that nothing has is empty", func(t *testing.T) {
		set, err := s.p.JWKS(t.Context(), s.kid(t)+"-nothing")
		require.NoError(t, err)
		require.Zero(t, set.Len())
		require.JSONEq(t, `{"keys":[]}`, string(set.JSON()))
		freshAnswer(t, set.Provenance)
	})
	t.Run("is in ascending order without repeats", func(t *testing.T) {
		set, err := s.p.JWKS(t.Context(), s.prefix)
		require.NoError(t, err)
		names := set.Keys()
		for i := 1; i < len(names); i++ {
			a, b := names[i-1].Ref(), names[i].Ref()
			require.True(t, a.KID < b.KID || a.KID == b.KID && a.Version < b.Version, "%s before %s", a.JWKKID(), b.JWKKID())
		}
	})
	t.Run("parses as the set that it is", s.testJWKSParses)
}

func (s *suite) testJWKSAll(t *testing.T) {
	pairs, symmetric := map[string]provider.KeyRef{}, []string{}
	for _, alg := range s.algs(creates) {
		if ref := s.key(t, alg); alg.Class() == provider.Symmetric {
			symmetric = append(symmetric, ref.JWKKID())
		} else {
			pairs[ref.JWKKID()] = ref
		}
	}
	set, err := s.p.JWKS(t.Context(), s.prefix)
	require.NoError(t, err)
	for name, ref := range pairs {
		got, ok := set.Key(name)
		require.True(t, ok, "%s of %s", ref.Alg, name)
		single, err := s.p.PublicJWK(t.Context(), ref.KID, ref.Version)
		require.NoError(t, err)
		require.JSONEq(t, string(single.JSON()), string(got.JSON()))
		sameVersion(t, ref, got.Ref())
	}
	for _, name := range symmetric {
		_, ok := set.Key(name)
		require.False(t, ok, name)
	}
	require.NotContains(t, string(set.JSON()), `"oct"`)
}

func (s *suite) testJWKSPrefix(t *testing.T) {
	alg, base := s.quick(t), s.kid(t)
	for _, end := range []string{"-a", "-ab", "-b"} {
		s.destroyAfter(t, base+end)
		s.create(t, provider.KeySpec{KID: base + end, Alg: alg})
	}
	tests := []struct {
		prefix string
		want   []string
	}{
		{base, []string{base + "-a.1", base + "-ab.1", base + "-b.1"}},
		{base + "-a", []string{base + "-a.1", base + "-ab.1"}},
		{base + "-ab", []string{base + "-ab.1"}},
		{base + "-a.1", []string{}}, // the prefix is of the key's kid, not of the JWK's
		{base + "-A", []string{}},
	}
	for _, tt := range tests {
		set, err := s.p.JWKS(t.Context(), tt.prefix)
		require.NoError(t, err)
		require.Equal(t, tt.want, jwkKIDs(set), tt.prefix)
	}
	all, err := s.p.JWKS(t.Context(), "")
	require.NoError(t, err)
	for _, name := range tests[0].want {
		require.True(t, slices.Contains(jwkKIDs(all), name), "no prefix: every key")
	}
}

func (s *suite) testJWKSParses(t *testing.T) {
	s.key(t, s.quick(t))
	set, err := s.p.JWKS(t.Context(), s.prefix)
	require.NoError(t, err)
	want, err := set.Set()
	require.NoError(t, err)
	got, err := jwk.Parse(set.JSON())
	require.NoError(t, err)
	require.NotZero(t, got.Len())
	require.Equal(t, set.Len(), got.Len())
	wantText, err := json.Marshal(want)
	require.NoError(t, err)
	gotText, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(wantText), string(gotText))
	require.JSONEq(t, string(set.JSON()), string(gotText))

	var out bytes.Buffer
	_, err = set.WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, set.JSON(), out.Bytes())
}
