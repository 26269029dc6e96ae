package providertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testDestroy(t *testing.T) {
	for _, alg := range s.algs(creates) {
		t.Run(string(alg)+" is gone from every answer", func(t *testing.T) { s.testDestroyed(t, alg) })
	}
	t.Run("one version goes, the others stay", s.testDestroyOne)
	t.Run("all versions go at once", s.testDestroyAll)
	t.Run("what is not there is ErrNotFound", s.testDestroyMissing)
	t.Run("the version must be named", s.testDestroyBadVersion)
	t.Run("a version number is never given again", s.testVersionsNeverReused)
	t.Run("a version number is never given again to an imported key", s.testVersionsNeverReusedByImport)
	t.Run("a key imported without its private half can go", func(t *testing.T) {
		o := newOutsider(t, s.quick(t))
		ref := s.importing(t, provider.KeySpec{Alg: o.alg}, o.publicMaterial(t))
		s.destroy(t, ref.KID, 1, 1)
		s.nothingUnder(t, ref.KID)
	})
}

// destroy destroys a version, or AllVersions, and checks what the answer says went.
func (s *suite) destroy(t *testing.T, kid string, version int, gone ...int) {
	t.Helper()
	d, err := s.p.DestroyKey(t.Context(), kid, version)
	require.NoError(t, err)
	require.Equal(t, kid, d.KID)
	require.Equal(t, gone, d.Versions)
}

func (s *suite) testDestroyed(t *testing.T, alg provider.KeyAlg) {
	ref := s.create(t, provider.KeySpec{Alg: alg})
	s.destroy(t, ref.KID, 1, 1)
	s.nothingUnder(t, ref.KID)
	for _, version := range []int{0, 1} {
		_, err := s.p.GetKey(t.Context(), ref.KID, version)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = s.p.PublicJWK(t.Context(), ref.KID, version)
		require.ErrorIs(t, err, provider.ErrNotFound)
	}
	set, err := s.p.JWKS(t.Context(), ref.KID)
	require.NoError(t, err)
	require.Empty(t, jwkKIDs(set))
	for name, err := range s.useErrors(t, ref) {
		require.ErrorIs(t, err, provider.ErrNotFound, name)
	}
	if p, ok := s.p.(provider.Exporting); ok {
		_, err = p.ExportKey(t.Context(), ref.KID, 1)
		require.ErrorIs(t, err, provider.ErrNotFound)
	}
	_, err = s.p.RotateKey(t.Context(), ref.KID, provider.Rotation{})
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = s.p.DestroyKey(t.Context(), ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
}

func (s *suite) testDestroyOne(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	second := s.rotate(t, first.KID, provider.Rotation{})
	third := s.rotate(t, first.KID, provider.Rotation{})
	s.destroy(t, first.KID, 2, 2)
	_, err := s.p.GetKey(t.Context(), first.KID, 2)
	require.ErrorIs(t, err, provider.ErrNotFound)
	s.holdsVersions(t, first, third)
	s.destroy(t, first.KID, 3, 3)
	s.holdsVersions(t, first)
	s.destroy(t, first.KID, 1, 1)
	s.nothingUnder(t, second.KID)
}

func (s *suite) testDestroyAll(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	s.rotate(t, first.KID, provider.Rotation{})
	s.rotate(t, first.KID, provider.Rotation{})
	s.destroy(t, first.KID, 2, 2)
	s.destroy(t, first.KID, provider.AllVersions, 1, 3)
	s.nothingUnder(t, first.KID)
	_, err := s.p.DestroyKey(t.Context(), first.KID, provider.AllVersions)
	require.ErrorIs(t, err, provider.ErrNotFound)
}

func (s *suite) testDestroyMissing(t *testing.T) {
	_, err := s.p.DestroyKey(t.Context(), s.kid(t), 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = s.p.DestroyKey(t.Context(), s.kid(t), provider.AllVersions)
	require.ErrorIs(t, err, provider.ErrNotFound)
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	_, err = s.p.DestroyKey(t.Context(), ref.KID, 99)
	require.ErrorIs(t, err, provider.ErrNotFound, "the original's defect L04: version 99 was destroyed with success")
	s.answersAlike(t, ref)
}

func (s *suite) testDestroyBadVersion(t *testing.T) {
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	for _, version := range []int{0, -2, -1 << 31} {
		_, err := s.p.DestroyKey(t.Context(), ref.KID, version)
		require.ErrorIs(t, err, provider.ErrInvalid, version)
	}
	s.answersAlike(t, ref)
}

// The original's defect L03: another key got the number, and so the JWK kid, of a destroyed one.
func (s *suite) testVersionsNeverReused(t *testing.T) {
	spec := provider.KeySpec{KID: s.kid(t), Alg: s.quick(t)}
	s.create(t, spec)
	s.rotate(t, spec.KID, provider.Rotation{})
	s.destroy(t, spec.KID, 2, 2)
	third := s.rotate(t, spec.KID, provider.Rotation{})
	require.Equal(t, 3, third.Version, "after the latest was destroyed")
	s.destroy(t, spec.KID, provider.AllVersions, 1, 3)
	fourth := s.create(t, spec)
	require.Equal(t, 4, fourth.Version, "after all were destroyed")
	require.Equal(t, provider.Active, fourth.State)
	s.answersAlike(t, fourth)
	s.destroy(t, spec.KID, 4, 4)
	require.Equal(t, 5, s.create(t, spec).Version)
}

func (s *suite) testVersionsNeverReusedByImport(t *testing.T) {
	o := s.someImport(t)
	spec := provider.KeySpec{KID: s.kid(t), Alg: o.alg}
	s.importing(t, spec, o.material(t))
	s.destroy(t, spec.KID, 1, 1)
	second := s.importing(t, spec, o.material(t))
	require.Equal(t, 2, second.Version)
	require.Equal(t, provider.Active, second.State)
	s.answersAlike(t, second)
	s.holds(t, second, o)
}
