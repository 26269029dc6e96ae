package mirror

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// spoilt is a primary that holds a version and can't serve it, as a token does of which another program destroyed an object.
type spoilt struct {
	*providertest.Fake
	version int
}

func (s spoilt) ListVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	list, err := s.Fake.ListVersions(ctx, kid)
	isSpoilt := func(ref provider.KeyRef) bool { return ref.Version == s.version }
	if err != nil || !slices.ContainsFunc(list.Keys, isSpoilt) {
		return list, err
	}
	damage := fmt.Errorf("%w: its key object is gone", provider.ErrTampered)
	if list.Keys = slices.DeleteFunc(list.Keys, isSpoilt); len(list.Keys) == 0 {
		return provider.KeyList{}, damage
	}
	list.Problems = append(list.Problems, damage)
	return list, nil
}

func TestWhatThePrimaryCannotServeIsDestroyedThereToo(t *testing.T) {
	tests := []struct {
		name             string
		versions, spoilt int
		destroy          int
		want             []int
	}{
		{"the only version", 1, 1, 1, []int{1}},
		{"one beside a sound one", 2, 2, 2, []int{2}},
		{"the sound one beside it", 2, 2, 1, []int{1}},
		{"all of them", 2, 1, provider.AllVersions, []int{1, 2}},
	}
	for _, tt := range tests {
		for _, mode := range []Mode{PublicOnly, None} {
			t.Run(tt.name+", mode "+string(mode), func(t *testing.T) {
				r := newRig(t, Config{})
				r.create(provider.KeySpec{KID: "k"})
				for range tt.versions - 1 {
					r.rotate("k")
				}
				require.NoError(t, r.Close())
				primary := r.primary.Reopen()
				m, err := New(spoilt{primary, tt.spoilt}, r.secondary.Reopen(), Config{Mode: mode, ManifestDir: r.cfg.ManifestDir})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, m.Close()) })

				d, err := m.DestroyKey(t.Context(), "k", tt.destroy)
				require.NoError(t, err)
				require.Equal(t, tt.want, d.Versions)
				for _, n := range tt.want {
					_, err = primary.GetKey(t.Context(), "k", n)
					require.ErrorIs(t, err, provider.ErrNotFound)
					requireGone(t, m, "k", n)
				}
				_, err = m.DestroyKey(t.Context(), "k", 9)
				require.ErrorIs(t, err, provider.ErrNotFound)
			})
		}
	}
}
