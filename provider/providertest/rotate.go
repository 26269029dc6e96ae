package providertest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testRotate(t *testing.T) {
	for _, alg := range s.algs(creates) {
		t.Run(string(alg)+" gets a next version like the first", func(t *testing.T) { s.testRotated(t, alg) })
	}
	t.Run("an RSA key keeps a size that is not the default", s.testRotateKeepsSize)
	t.Run("label and tags can change, for the new version only", s.testRotateOverrides)
	t.Run("label and tags can be taken away", s.testRotateClears)
	t.Run("the size can change", s.testRotateSize)
	t.Run("an imported key gets a next version that the store made", s.testRotateImported)
	t.Run("an unknown kid is ErrNotFound", func(t *testing.T) {
		kid := s.kid(t)
		_, err := s.p.RotateKey(t.Context(), kid, provider.Rotation{})
		require.ErrorIs(t, err, provider.ErrNotFound)
		s.nothingUnder(t, kid)
	})
	t.Run("a bad rotation is ErrInvalid and adds nothing", s.testBadRotation)
}

func (s *suite) testRotated(t *testing.T, alg provider.KeyAlg) {
	first := s.create(t, provider.KeySpec{
		Alg: alg, Uses: alg.Uses()[:1], Export: provider.ExportPublicOnly, Label: "kept", Tags: map[string]string{"kept": "too"},
	})
	second := s.rotate(t, first.KID, provider.Rotation{Windows: &provider.Windows{}})

	require.Equal(t, first.KID, second.KID)
	require.Equal(t, 2, second.Version)
	require.Equal(t, alg, second.Alg)
	require.Equal(t, first.Bits, second.Bits)
	require.Equal(t, first.Uses, second.Uses)
	require.Equal(t, first.Export, second.Export)
	require.Equal(t, first.Label, second.Label)
	require.Equal(t, first.Tags, second.Tags)
	require.True(t, second.Private)
	require.False(t, second.Imported)
	if alg.Class() == provider.Asymmetric {
		require.NotEqual(t, first.Fingerprint, second.Fingerprint, "another key")
	}
	s.holdsVersions(t, first, second)
}

// holdsVersions checks that the store holds the versions of a kid as refs describe them, but for their states, and
// nothing else under a name that begins like the kid (the original's defect L02: rotation left a second key).
func (s *suite) holdsVersions(t *testing.T, refs ...provider.KeyRef) {
	t.Helper()
	kid := refs[0].KID
	all, err := s.p.ListVersions(t.Context(), kid)
	require.NoError(t, err)
	require.Equal(t, versions(refs), versions(all.Keys))
	for i, want := range refs {
		got, err := s.p.GetKey(t.Context(), kid, want.Version)
		require.NoError(t, err)
		sameVersion(t, got, all.Keys[i])
		want.State = got.State
		sameVersion(t, want, got)
	}
	latest, err := s.p.GetKey(t.Context(), kid, 0)
	require.NoError(t, err)
	require.Equal(t, refs[len(refs)-1].Version, latest.Version, "0 is the highest version")
	keys, err := s.p.ListKeys(t.Context())
	require.NoError(t, err)
	for _, k := range keys.Keys {
		require.False(t, strings.HasPrefix(k.KID, kid) && k.KID != kid, k.KID)
	}
}

func (s *suite) testRotateKeepsSize(t *testing.T) {
	for _, alg := range s.algs(creates) {
		if bits := s.rsaBits(alg); alg.KeyType() == "RSA" && bits != provider.DefaultRSABits {
			ref := s.create(t, provider.KeySpec{Alg: alg, Bits: bits})
			require.Equal(t, bits, s.rotate(t, ref.KID, provider.Rotation{}).Bits, "the original's defect L07: rotation went to the default")
			return
		}
	}
	t.Skip("the store makes no RSA key but of the default size")
}

func (s *suite) testRotateOverrides(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: s.quick(t), Label: "old", Tags: map[string]string{"a": "1", "b": "2"}})
	label, tags := "new", map[string]string{"c": "3"}
	second := s.rotate(t, first.KID, provider.Rotation{Label: &label, Tags: tags})
	require.Equal(t, label, second.Label)
	require.Equal(t, tags, second.Tags)
	s.holdsVersions(t, first, second)
	third := s.rotate(t, first.KID, provider.Rotation{})
	require.Equal(t, label, third.Label, "as the latest version")
	require.Equal(t, tags, third.Tags)
	s.holdsVersions(t, first, second, third)
}

func (s *suite) testRotateClears(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: s.quick(t), Label: "old", Tags: map[string]string{"a": "1"}})
	second := s.rotate(t, first.KID, provider.Rotation{Label: new(string), Tags: map[string]string{}})
	require.Empty(t, second.Label)
	require.Empty(t, second.Tags)
	s.holdsVersions(t, first, second)
}

func (s *suite) testRotateSize(t *testing.T) {
	types := map[string]bool{}
	for _, alg := range s.algs(creates) {
		support := s.caps.Alg(alg)
		if support.MinBits == support.MaxBits || types[alg.KeyType()] { // one RSA algorithm: large keys are slow to make
			continue
		}
		types[alg.KeyType()] = true
		t.Run(string(alg), func(t *testing.T) {
			first := s.create(t, provider.KeySpec{Alg: alg})
			bits := min(first.Bits+1024, support.MaxBits)
			second := s.rotate(t, first.KID, provider.Rotation{Bits: bits})
			require.Equal(t, bits, second.Bits)
			s.holdsVersions(t, first, second)
		})
	}
}

func (s *suite) testRotateImported(t *testing.T) {
	o := s.someImport(t)
	first := s.importing(t, provider.KeySpec{Alg: o.alg}, o.material(t))
	if !s.caps.Alg(o.alg).Create {
		t.Skipf("the store makes no %s key", o.alg)
	}
	second := s.rotate(t, first.KID, provider.Rotation{})
	require.False(t, second.Imported)
	require.True(t, second.Private)
	s.holdsVersions(t, first, second)
}

func (s *suite) testBadRotation(t *testing.T) {
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	long := strings.Repeat("x", provider.MaxLabel+1)
	tests := []struct {
		name string
		r    provider.Rotation
	}{
		{"published for a negative time before", provider.Rotation{Windows: &provider.Windows{PublishBefore: -time.Second}}},
		{"retired before it stops", provider.Rotation{Windows: &provider.Windows{RetireAfter: -time.Second}}},
		{"a size that the algorithm does not have", provider.Rotation{Bits: 1024}},
		{"a negative size", provider.Rotation{Bits: -1}},
		{"a label that is too long", provider.Rotation{Label: &long}},
		{"a tag without a name", provider.Rotation{Tags: map[string]string{"": "x"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.p.RotateKey(t.Context(), ref.KID, tt.r)
			require.ErrorIs(t, err, provider.ErrInvalid)
			s.answersAlike(t, ref)
		})
	}
}
