package providertest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testReplica(t *testing.T) {
	optional[provider.Replica](t, s.p, "Replica")
	if !s.caps.Has(provider.FeatureReplica) {
		t.Skip("the store has no feature replica")
	}
	for _, alg := range s.algs(isPublic) {
		t.Run(string(alg)+" as its public half", func(t *testing.T) { s.testPutPublic(t, alg) })
	}
	for _, alg := range s.algs(imports) {
		t.Run(string(alg)+" with its private or secret half", func(t *testing.T) { s.testPutPrivate(t, alg) })
	}
	t.Run("repeating it changes nothing", s.testPutTwice)
	t.Run("a schedule that changed is taken over", s.testPutSchedule)
	t.Run("a private half that came later is taken over", s.testPutPrivateLater)
	t.Run("another key there is ErrExists", s.testPutOther)
	t.Run("a destroyed version is ErrExists", s.testPutDestroyed)
	t.Run("versions come in any order", s.testPutOrder)
	t.Run("a copied version keeps the lifecycle", s.testPutLifecycle)
	t.Run("a version of its own follows the copies", s.testPutThenCreate)
	t.Run("bad copies are ErrInvalid and leave nothing", s.testPutBad)
}

// copied describes the outsider's key as a version of another store.
func (s *suite) copied(t *testing.T, o outsider, version int) provider.KeyRef {
	t.Helper()
	ref := provider.KeyRef{
		KID: s.kid(t), Version: version, Alg: o.alg, Bits: o.bits, Uses: o.alg.Uses()[:1], Export: provider.ExportPublicOnly,
		Label: "copied", Tags: map[string]string{"from": "the token"}, Private: true,
		Created:    time.Date(2024, 2, 29, 12, 30, 59, 0, time.UTC),
		ActiveFrom: time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC), RetireAfter: 36 * time.Hour,
	}
	if o.public != nil {
		var err error
		ref.Fingerprint, err = provider.Thumbprint(o.public)
		require.NoError(t, err)
	}
	return ref
}

func (s *suite) put(t *testing.T, ref provider.KeyRef, m provider.KeyMaterial) provider.KeyRef {
	t.Helper()
	got, err := s.p.(provider.Replica).PutVersion(t.Context(), ref, m)
	require.NoError(t, err)
	return got
}

// isCopy checks that the store describes the version as its origin does.
func (s *suite) isCopy(t *testing.T, want, got provider.KeyRef, private bool) {
	t.Helper()
	want.Private, want.State, want.Imported = private, got.State, got.Imported
	sameVersion(t, want, got)
	again, err := s.p.GetKey(t.Context(), want.KID, want.Version)
	require.NoError(t, err)
	sameVersion(t, got, again)
}

func (s *suite) testPutPublic(t *testing.T, alg provider.KeyAlg) {
	o := newOutsider(t, alg)
	ref := s.copied(t, o, 7)
	got := s.put(t, ref, o.publicMaterial(t))
	s.isCopy(t, ref, got, false)
	require.Equal(t, provider.Active, got.State)
	s.answersAlike(t, got)
	jwk, err := s.p.PublicJWK(t.Context(), ref.KID, 7)
	require.NoError(t, err)
	require.Equal(t, ref.KID+".7", jwk.JWKKID())
	require.True(t, samePublic(o.public, jwk.PublicKey()))
	set, err := s.p.JWKS(t.Context(), ref.KID)
	require.NoError(t, err)
	require.Equal(t, []string{ref.KID + ".7"}, jwkKIDs(set))
	for name, err := range s.useErrors(t, ref) {
		require.ErrorIs(t, err, provider.ErrUnsupported, name)
	}
}

func (s *suite) testPutPrivate(t *testing.T, alg provider.KeyAlg) {
	o := newOutsider(t, alg)
	ref := s.copied(t, o, 3)
	ref.Uses = alg.Uses()
	got := s.put(t, ref, o.material(t))
	s.isCopy(t, ref, got, true)
	s.answersAlike(t, got)
	s.holds(t, got, o)
}

func (s *suite) testPutTwice(t *testing.T) {
	o := s.someImport(t)
	ref := s.copied(t, o, 2)
	first := s.put(t, ref, o.material(t))
	again := s.put(t, ref, o.material(t))
	sameVersion(t, first, again)
	s.answersAlike(t, first)
	s.holds(t, first, outsider{alg: o.alg, public: o.public, symmetric: o.symmetric})
}

func (s *suite) testPutSchedule(t *testing.T) {
	o := newOutsider(t, s.quick(t))
	ref := s.copied(t, o, 2)
	s.put(t, ref, o.publicMaterial(t))
	ref.ActiveFrom, ref.RetireAfter = ref.ActiveFrom.Add(time.Hour), time.Minute
	ref.Label, ref.Tags = "renamed", map[string]string{"from": "another token"}
	got := s.put(t, ref, o.publicMaterial(t))
	s.isCopy(t, ref, got, false)
}

func (s *suite) testPutPrivateLater(t *testing.T) {
	o := newOutsider(t, s.quick(t))
	s.has(t, o.alg, imports)
	ref := s.copied(t, o, 2)
	ref.Uses = o.alg.Uses()
	s.put(t, ref, o.publicMaterial(t))
	s.isCopy(t, ref, s.put(t, ref, o.material(t)), true)
	got := s.put(t, ref, o.publicMaterial(t))
	s.isCopy(t, ref, got, true) // a copy of the public half takes nothing away
	s.holds(t, got, o)
}

func (s *suite) testPutOther(t *testing.T) {
	o := newOutsider(t, s.quick(t))
	ref := s.copied(t, o, 2)
	first := s.put(t, ref, o.publicMaterial(t))
	other := newOutsider(t, o.alg)
	swapped := s.copied(t, other, 2)
	swapped.KID = ref.KID
	_, err := s.p.(provider.Replica).PutVersion(t.Context(), swapped, other.publicMaterial(t))
	require.ErrorIs(t, err, provider.ErrExists)
	s.answersAlike(t, first)

	own := s.create(t, provider.KeySpec{Alg: o.alg})
	swapped.KID, swapped.Version = own.KID, 1
	_, err = s.p.(provider.Replica).PutVersion(t.Context(), swapped, other.publicMaterial(t))
	require.ErrorIs(t, err, provider.ErrExists)
	s.answersAlike(t, own)
}

func (s *suite) testPutDestroyed(t *testing.T) {
	o := newOutsider(t, s.quick(t))
	ref := s.copied(t, o, 2)
	s.put(t, ref, o.publicMaterial(t))
	s.destroy(t, ref.KID, 2, 2)
	_, err := s.p.(provider.Replica).PutVersion(t.Context(), ref, o.publicMaterial(t))
	require.ErrorIs(t, err, provider.ErrExists, "no copy brings a destroyed version back")
	s.nothingUnder(t, ref.KID)

	own := s.create(t, provider.KeySpec{Alg: o.alg})
	s.rotate(t, own.KID, provider.Rotation{})
	s.destroy(t, own.KID, 1, 1)
	ref.KID, ref.Version = own.KID, 1
	_, err = s.p.(provider.Replica).PutVersion(t.Context(), ref, o.publicMaterial(t))
	require.ErrorIs(t, err, provider.ErrExists)
}

func (s *suite) testPutOrder(t *testing.T) {
	alg := s.quick(t)
	kid := s.kid(t)
	var want []provider.KeyRef
	for _, version := range []int{5, 2, 12, 3} {
		o := newOutsider(t, alg)
		ref := s.copied(t, o, version)
		ref.KID = kid
		ref.ActiveFrom = ref.ActiveFrom.Add(time.Duration(version) * time.Hour)
		want = append(want, s.put(t, ref, o.publicMaterial(t)))
	}
	slices.SortFunc(want, func(a, b provider.KeyRef) int { return a.Version - b.Version })
	s.holdsVersions(t, want...)
}

func (s *suite) testPutLifecycle(t *testing.T) {
	alg := s.quick(t)
	now := time.Now().Truncate(time.Second)
	kid := s.kid(t)
	for version, hours := range map[int]time.Duration{1: -48, 2: -30, 3: -1, 4: +1} {
		o := newOutsider(t, alg)
		ref := s.copied(t, o, version)
		ref.KID, ref.ActiveFrom, ref.RetireAfter = kid, now.Add(hours*time.Hour), 24*time.Hour
		s.put(t, ref, o.publicMaterial(t))
	}
	s.inState(t, kid, 1, provider.Retired, false)
	s.inState(t, kid, 2, provider.Retiring, true)
	s.inState(t, kid, 3, provider.Active, true)
	s.inState(t, kid, 4, provider.Pending, true)
}

func (s *suite) testPutThenCreate(t *testing.T) {
	o := newOutsider(t, s.quick(t))
	ref := s.copied(t, o, 7)
	s.put(t, ref, o.publicMaterial(t))
	_, err := s.p.CreateKey(t.Context(), provider.KeySpec{KID: ref.KID, Alg: o.alg})
	require.ErrorIs(t, err, provider.ErrExists)
	s.destroy(t, ref.KID, 7, 7)
	own := s.create(t, provider.KeySpec{KID: ref.KID, Alg: o.alg})
	require.Equal(t, 8, own.Version)
}

func (s *suite) testPutBad(t *testing.T) {
	o, other := newOutsider(t, s.quick(t)), newOutsider(t, s.quick(t))
	m := o.publicMaterial(t)
	type (
		ref      = provider.KeyRef
		material = provider.KeyMaterial
	)
	tests := []struct {
		name string
		edit func(*ref, *material)
	}{
		{"no version", func(r *ref, _ *material) { r.Version = 0 }},
		{"a negative version", func(r *ref, _ *material) { r.Version = -1 }},
		{"an unknown algorithm", func(r *ref, _ *material) { r.Alg = "ROT13" }},
		{"another algorithm", func(r *ref, _ *material) { r.Alg, r.Uses = provider.X25519, nil }},
		{"a use that the algorithm does not allow", func(r *ref, _ *material) { r.Uses = []provider.KeyUse{provider.UseWrap} }},
		{"an unknown policy", func(r *ref, _ *material) { r.Export = "perhaps" }},
		{"no material", func(_ *ref, m *material) { *m = material{} }},
		{"the material of another key", func(_ *ref, m *material) { *m = other.publicMaterial(t) }},
		{"truncated material", func(_ *ref, m *material) { m.Public = m.Public[:len(m.Public)-1] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref, m := s.copied(t, o, 1), m
			tt.edit(&ref, &m)
			_, err := s.p.(provider.Replica).PutVersion(t.Context(), ref, m)
			require.ErrorIs(t, err, provider.ErrInvalid)
			s.nothingUnder(t, ref.KID)
		})
	}
	for _, kid := range []string{"", "..", "a/b"} {
		ref := s.copied(t, o, 1)
		ref.KID = kid
		_, err := s.p.(provider.Replica).PutVersion(t.Context(), ref, m)
		require.ErrorIs(t, err, provider.ErrInvalid, "kid %q", kid)
	}
}
