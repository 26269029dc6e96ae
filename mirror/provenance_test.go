package mirror

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// An answer of the secondary is as old as the last word of the primary on what is in it, whichever read brought that word.
func TestTheOldestConfirmationCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "a"})
		r.create(provider.KeySpec{KID: "b"})
		synctest.Wait()
		at := map[string]time.Time{}
		read := func(kid string) {
			time.Sleep(time.Minute)
			at[kid] = time.Now()
			_, err := r.GetKey(t.Context(), kid, 1)
			require.NoError(t, err)
		}
		outage := func() (a, b, list time.Time) {
			r.primary.Unplug()
			defer func() {
				r.primary.Plug()
				require.NoError(t, r.Health(t.Context()))
			}()
			refA, err := r.GetKey(t.Context(), "a", 1)
			require.NoError(t, err)
			refB, err := r.GetKey(t.Context(), "b", 1)
			require.NoError(t, err)
			keys, err := r.ListKeys(t.Context())
			require.NoError(t, err)
			_, set := r.jwks("")
			require.Equal(t, keys.Provenance.AsOf, set.Provenance.AsOf, "a set is as old as a list of what is in it")
			return refA.Provenance.AsOf, refB.Provenance.AsOf, keys.Provenance.AsOf
		}
		for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
			read(order[0])
			read(order[1])
			a, b, list := outage()
			require.WithinDuration(t, at["a"], a, 0)
			require.WithinDuration(t, at["b"], b, 0)
			require.WithinDuration(t, at[order[0]], list, 0, "the older one of the two")
		}

		for name, read := range map[string]func() error{
			"JWKS":     func() error { _, err := r.JWKS(t.Context(), ""); return err },
			"ListKeys": func() error { _, err := r.ListKeys(t.Context()); return err },
			"ListVersions": func() error {
				_, err := r.ListVersions(t.Context(), "a")
				_, berr := r.ListVersions(t.Context(), "b")
				return errors.Join(err, berr)
			},
			"PublicJWK": func() error {
				_, err := r.PublicJWK(t.Context(), "a", 1)
				_, berr := r.PublicJWK(t.Context(), "b", 1)
				return errors.Join(err, berr)
			},
		} {
			time.Sleep(time.Minute)
			now := time.Now()
			require.NoError(t, read())
			a, b, list := outage()
			for _, asOf := range []time.Time{a, b, list} {
				require.WithinDuration(t, now, asOf, 0, "%s of the primary confirms every key in it", name)
			}
		}
	})
}

// A list is no orphan because one version in it is.
func TestAnOrphanAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		r.rotate("k")
		r.primary.Forget("k", 1)
		_, err := r.Reconcile(t.Context())
		require.NoError(t, err)
		r.primary.Unplug()
		list, err := r.ListVersions(t.Context(), "k")
		require.NoError(t, err)
		require.Len(t, list.Keys, 2)
		require.False(t, list.Provenance.Orphan)
		require.True(t, list.Keys[0].Provenance.Orphan)
		require.False(t, list.Keys[1].Provenance.Orphan)
		r.primary.Plug()
	})
}
