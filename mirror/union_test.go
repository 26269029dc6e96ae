package mirror

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// A set with orphans is made once, until either store, the mirror's own knowledge, or the time changes it.
func TestSetWithOrphansIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for _, kid := range []string{"a", "b", "c"} {
			r.create(provider.KeySpec{KID: kid})
		}
		synctest.Wait()
		r.primary.Forget("b", 1)
		kids, set := r.jwks("")
		require.Equal(t, []string{"a.1", "b.1", "c.1"}, kids)
		require.Equal(t, provider.Merged, set.Provenance.Source)
		first := r.united.Load()
		kids, _ = r.jwks("")
		require.Equal(t, []string{"a.1", "b.1", "c.1"}, kids)
		require.Same(t, first, r.united.Load())

		kids, _ = r.jwks("b")
		require.Equal(t, []string{"b.1"}, kids, "another prefix is another set")
		r.primary.Forget("c", 1)
		kids, _ = r.jwks("")
		require.Equal(t, []string{"a.1", "b.1", "c.1"}, kids)
		r.secondary.Forget("c", 1)
		kids, _ = r.jwks("")
		require.Equal(t, []string{"a.1", "b.1"}, kids, "what neither store holds is gone at once")
		_, err := r.DestroyKey(t.Context(), "b", 1)
		require.NoError(t, err)
		kids, set = r.jwks("")
		require.Equal(t, []string{"a.1"}, kids, "and so is what was destroyed")
		require.Equal(t, provider.Primary, set.Provenance.Source)

		r.create(provider.KeySpec{KID: "d"})
		kids, _ = r.jwks("")
		require.Equal(t, []string{"a.1", "d.1"}, kids)
		before := r.united.Load()
		time.Sleep(stampEvery)
		r.jwks("")
		require.NotSame(t, before, r.united.Load(), "the primary's confirmation of each key is not older than elsewhere")
	})
}

// While the primary can't say of a key that it lacks it, the set is not kept.
func TestSetIsNotKeptWhileThePrimaryIsUnsure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "a"})
		r.create(provider.KeySpec{KID: "b"})
		synctest.Wait()
		r.primary.Forget("b", 1)
		r.primary.Refuse(provider.ErrUnavailable, "GetKey")
		kids, _ := r.jwks("")
		require.Equal(t, []string{"a.1"}, kids)
		r.primary.Refuse(nil)
		require.NoError(t, r.Health(t.Context()))
		kids, _ = r.jwks("")
		require.Equal(t, []string{"a.1", "b.1"}, kids)
	})
}
