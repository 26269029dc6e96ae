package mirror

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// damaged is a store that holds a key and can't serve it.
type damaged struct {
	*providertest.Fake
	kid  string
	jwks bool // it can list it, and has no JWK of it
	one  bool // it can list its other versions
}

var errDamaged = fmt.Errorf("%w: its object is spoilt", provider.ErrTampered)

func (d damaged) ListVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	switch {
	case kid == d.kid && d.one:
		list, err := d.Fake.ListVersions(ctx, kid)
		return provider.KeyList{Keys: list.Keys[1:], Problems: []error{errDamaged}}, err
	case kid == d.kid && !d.jwks:
		return provider.KeyList{}, errDamaged
	}
	return d.Fake.ListVersions(ctx, kid)
}

func (d damaged) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	if kid == d.kid && !d.jwks {
		return provider.KeyRef{}, errDamaged
	}
	return d.Fake.GetKey(ctx, kid, version)
}

func (d damaged) PublicJWK(ctx context.Context, kid string, version int) (provider.JWK, error) {
	if kid == d.kid {
		return provider.JWK{}, errDamaged
	}
	return d.Fake.PublicJWK(ctx, kid, version)
}

func (d damaged) PutVersion(ctx context.Context, ref provider.KeyRef, material provider.KeyMaterial) (provider.KeyRef, error) {
	if ref.KID == d.kid {
		return provider.KeyRef{}, errDamaged
	}
	return d.Fake.PutVersion(ctx, ref, material)
}

// One version that a store can't serve keeps no other from being repaired, and is no orphan.
func TestADamagedVersionKeepsNoOtherFromBeingRepaired(t *testing.T) {
	tests := []struct {
		name               string
		primary, secondary damaged // beside their Fakes
		report             Report  // Problems and Unmirrored, and what is copied
		copies             []string
	}{
		{"a key of the primary", damaged{kid: "b"}, damaged{},
			Report{Problems: []error{errDamaged}, Copied: []Version{{"c", 1}}}, []string{"a.1", "b.1", "b.2", "c.1"}},
		{"a version of the primary", damaged{kid: "b", one: true}, damaged{},
			Report{Problems: []error{errDamaged}, Copied: []Version{{"c", 1}}}, []string{"a.1", "b.1", "b.2", "c.1"}},
		{"a key of the secondary", damaged{}, damaged{kid: "b"},
			Report{Unmirrored: []Unmirrored{{Version{"b", 1}, errDamaged.Error()}, {Version{"b", 2}, errDamaged.Error()}}, Copied: []Version{{"c", 1}}}, []string{"a.1", "b.1", "b.2", "c.1"}},
		{"a public half of the primary", damaged{kid: "a", jwks: true}, damaged{},
			Report{Problems: []error{errDamaged}, Copied: []Version{{"c", 1}}}, []string{"a.1", "b.1", "b.2", "c.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.create(provider.KeySpec{KID: "a"})
			r.create(provider.KeySpec{KID: "b"})
			r.rotate("b")
			require.NoError(t, r.Close())
			tt.primary.Fake, tt.secondary.Fake = r.primary.Reopen(), r.secondary.Reopen()
			_, err := tt.primary.CreateKey(t.Context(), provider.KeySpec{KID: "c", Alg: provider.Ed25519})
			require.NoError(t, err)
			m, err := New(tt.primary, tt.secondary, Config{ManifestDir: t.TempDir()}) // knows nothing of them
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, m.Close()) })

			report, err := m.Reconcile(t.Context())
			require.NoError(t, err)
			require.NotZero(t, report.At)
			require.Equal(t, tt.report, Report{Problems: report.Problems, Unmirrored: report.Unmirrored, Orphans: report.Orphans, Conflicts: report.Conflicts, Copied: report.Copied})
			require.Equal(t, tt.copies, r.copies())
		})
	}
}
