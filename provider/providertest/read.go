package providertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testRead(t *testing.T) {
	t.Run("what is not there is ErrNotFound", s.testReadMissing)
	t.Run("a negative version is ErrInvalid", s.testReadNegative)
	t.Run("lists are in ascending order", s.testListOrder)
	t.Run("ten versions and more are in the order of numbers", s.testManyVersions)
	t.Run("every read says where it came from", s.testProvenance)
}

func (s *suite) testReadMissing(t *testing.T) {
	s.nothingUnder(t, s.kid(t))
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	reads := map[string]func(kid string, version int) error{
		"GetKey":    func(kid string, v int) error { _, err := s.p.GetKey(t.Context(), kid, v); return err },
		"PublicJWK": func(kid string, v int) error { _, err := s.p.PublicJWK(t.Context(), kid, v); return err },
	}
	for name, read := range reads {
		for _, missing := range []struct {
			kid     string
			version int
		}{{s.kid(t), 0}, {s.kid(t), 1}, {ref.KID, 2}, {ref.KID, 1 << 40}} {
			err := read(missing.kid, missing.version)
			require.ErrorIs(t, err, provider.ErrNotFound, name)
			require.NotErrorIs(t, err, provider.ErrUnavailable, "not found is an answer")
			require.ErrorContains(t, err, missing.kid, "says what was not found")
		}
	}
}

func (s *suite) testReadNegative(t *testing.T) {
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	for _, version := range []int{-1, -1 << 40} {
		_, err := s.p.GetKey(t.Context(), ref.KID, version)
		require.ErrorIs(t, err, provider.ErrInvalid)
		_, err = s.p.PublicJWK(t.Context(), ref.KID, version)
		require.ErrorIs(t, err, provider.ErrInvalid)
	}
}

func (s *suite) testListOrder(t *testing.T) {
	alg, base := s.quick(t), s.kid(t)
	for _, end := range []string{"b", "a", "B", ".", "-", "_", "10", "9"} {
		s.destroyAfter(t, base+end)
		s.create(t, provider.KeySpec{KID: base + end, Alg: alg})
	}
	s.rotate(t, base+"a", provider.Rotation{})
	list, err := s.p.ListKeys(t.Context())
	require.NoError(t, err)
	var kids []string
	for _, ref := range list.Keys {
		kids = append(kids, ref.KID)
		if ref.KID == base+"a" {
			require.Equal(t, 2, ref.Version, "the highest version of each")
		}
	}
	require.True(t, slices.IsSorted(kids), kids)
	kids = slices.DeleteFunc(kids, func(kid string) bool { return !strings.HasPrefix(kid, base) })
	require.Equal(t, []string{base + "-", base + ".", base + "10", base + "9", base + "B", base + "_", base + "a", base + "b"}, kids)
}

func (s *suite) testManyVersions(t *testing.T) {
	kid := s.create(t, provider.KeySpec{Alg: s.quick(t)}).KID
	want, names := []int{1}, []string{kid + ".1"}
	for n := 2; n <= 11; n++ {
		ref := s.rotate(t, kid, provider.Rotation{Windows: overlapping})
		want, names = append(want, n), append(names, ref.JWKKID())
	}
	all, err := s.p.ListVersions(t.Context(), kid)
	require.NoError(t, err)
	require.Equal(t, want, versions(all.Keys))
	set, err := s.p.JWKS(t.Context(), kid)
	require.NoError(t, err)
	require.Equal(t, names, jwkKIDs(set))
	latest, err := s.p.GetKey(t.Context(), kid, 0)
	require.NoError(t, err)
	require.Equal(t, 11, latest.Version)
}

func (s *suite) testProvenance(t *testing.T) {
	ref := s.key(t, s.quick(t))
	got, err := s.p.GetKey(t.Context(), ref.KID, 0)
	require.NoError(t, err)
	freshAnswer(t, got.Provenance)
	require.Nil(t, got.Mirroring, "reads write nothing")

	for name, read := range map[string]func() (provider.KeyList, error){
		"ListKeys":     func() (provider.KeyList, error) { return s.p.ListKeys(t.Context()) },
		"ListVersions": func() (provider.KeyList, error) { return s.p.ListVersions(t.Context(), ref.KID) },
	} {
		list, err := read()
		require.NoError(t, err, name)
		freshAnswer(t, list.Provenance)
		for _, ref := range listed(list, ref.KID) {
			freshAnswer(t, ref.Provenance)
		}
	}
	jwk, err := s.p.PublicJWK(t.Context(), ref.KID, 0)
	require.NoError(t, err)
	freshAnswer(t, jwk.Provenance)
	freshAnswer(t, jwk.Ref().Provenance)
	set, err := s.p.JWKS(t.Context(), ref.KID)
	require.NoError(t, err)
	freshAnswer(t, set.Provenance)
	for _, jwk := range set.Keys() {
		freshAnswer(t, jwk.Provenance)
	}
}
