package mirror

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// existing returns two fakes of which the first holds keys that no mirror has seen.
func existing(t *testing.T) *rig {
	r := &rig{t: t, primary: providertest.NewFake(t), secondary: providertest.NewFake(t), cfg: Config{ManifestDir: tempDir(t)}}
	for _, kid := range []string{"a", "b"} {
		_, err := r.primary.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.Ed25519, Tags: map[string]string{"for": kid}})
		require.NoError(t, err)
		_, err = r.primary.RotateKey(t.Context(), kid, provider.Rotation{})
		require.NoError(t, err)
	}
	_, err := r.primary.CreateKey(t.Context(), provider.KeySpec{KID: "secret", Alg: provider.AES256GCM})
	require.NoError(t, err)
	return r
}

func TestReconcileCopiesWhatWasThereBefore(t *testing.T) {
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := existing(t)
			r.plain = plain
			startRig(t, r)
			require.Zero(t, r.primary.Calls("ListKeys", "ListVersions", "GetKey", "Health"), "New asks neither store anything")
			report, err := r.Reconcile(t.Context())
			require.NoError(t, err)
			require.Equal(t, []Version{{"a", 1}, {"a", 2}, {"b", 1}, {"b", 2}}, report.Copied)
			require.Equal(t, 5, report.Versions)
			require.Empty(t, report.Unmirrored)
			require.Empty(t, report.Orphans)
			synctest.Wait()
			again, err := r.Reconcile(t.Context())
			require.NoError(t, err)
			require.Empty(t, again.Copied, "the second pass finds nothing to do")
			require.Equal(t, Report{At: again.At, Versions: 5}, again)

			want := r.x("a", 1)
			r.primary.Unplug()
			require.Equal(t, want, r.x("a", 1))
			kids, _ := r.jwks("")
			require.Equal(t, []string{"a.1", "a.2", "b.1", "b.2"}, kids)
			ref, err := r.GetKey(t.Context(), "b", 0)
			require.NoError(t, err)
			require.Equal(t, map[string]string{"for": "b"}, ref.Tags)
		})
	}
}

// The first answer of the primary starts a pass, and so does each recovery.
func TestReconcileRunsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, existing(t))
		_, err := r.RandomBytes(t.Context(), 1)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"a.1", "a.2", "b.1", "b.2"}, r.copies())

		r.primary.Unplug()
		_, err = r.GetKey(t.Context(), "a", 1)
		require.NoError(t, err)
		r.primary.Plug()
		_, err = r.primary.CreateKey(t.Context(), provider.KeySpec{KID: "c", Alg: provider.Ed25519})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"a.1", "a.2", "b.1", "b.2", "c.1"}, r.copies())
	})
}

func TestReconcileReportsAndDeletesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for _, kid := range []string{"orphan", "swapped-on-the-token", "swapped-in-the-mirror", "whole"} {
			r.create(provider.KeySpec{KID: kid})
		}
		synctest.Wait()
		_, err := r.secondary.CreateKey(t.Context(), provider.KeySpec{KID: "foreign", Alg: provider.Ed25519})
		require.NoError(t, err)
		vouched := map[string]string{}
		for _, kid := range []string{"swapped-on-the-token", "swapped-in-the-mirror"} {
			vouched[kid] = r.x(kid, 1)
		}
		r.primary.Forget("orphan", 1)
		r.primary.Swap("swapped-on-the-token", 1)
		r.secondary.Swap("swapped-in-the-mirror", 1)
		fresh := func(f *providertest.Fake, kid string) string {
			ref, err := f.GetKey(t.Context(), kid, 1)
			require.NoError(t, err)
			return ref.Fingerprint
		}
		before := r.copies()

		report, err := r.Reconcile(t.Context())
		require.NoError(t, err)
		require.Equal(t, []Version{{"foreign", 1}, {"orphan", 1}}, report.Orphans)
		a, b := "swapped-in-the-mirror", "swapped-on-the-token"
		require.Equal(t, []Conflict{
			{Version{a, 1}, vouched[a], vouched[a], fresh(r.secondary, a)},
			{Version{b, 1}, vouched[b], fresh(r.primary, b), vouched[b]},
		}, report.Conflicts)
		require.Empty(t, report.Copied)
		require.Equal(t, before, r.copies())
		_, err = r.Reconcile(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, strings.Count(r.log.String(), "key was replaced"), "logged once each")
		require.Equal(t, report.Conflicts, r.Status().Conflicts)
		require.Equal(t, report.Orphans, r.Status().Orphans)

		require.Equal(t, fresh(r.primary, b), r.x(b, 1), "while it is there the primary wins")
		r.primary.Unplug()
		for _, kid := range []string{a, b} {
			_, err = r.PublicJWK(t.Context(), kid, 1)
			require.ErrorIs(t, err, provider.ErrTampered)
			_, err = r.GetKey(t.Context(), kid, 1)
			require.ErrorIs(t, err, provider.ErrTampered)
		}
		kids, _ := r.jwks("swapped")
		require.Empty(t, kids)
		list, err := r.ListKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"foreign.1", "orphan.1", "whole.1"}, names(list))
		require.Len(t, list.Problems, 2)
		r = r.restart()
		_, err = r.PublicJWK(t.Context(), b, 1)
		require.ErrorIs(t, err, provider.ErrTampered, "a conflict outlives the process")
	})
}

func TestReconcileStopsAtAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, existing(t))
		r.primary.Unplug()
		_, err := r.Reconcile(t.Context())
		require.ErrorIs(t, err, provider.ErrUnavailable)
		r.primary.Plug()
		r.secondary.Unplug()
		time.Sleep(time.Minute)
		report, err := r.Reconcile(t.Context())
		require.ErrorIs(t, err, provider.ErrUnavailable)
		require.Zero(t, report.At)
		require.Zero(t, r.Status().Reconciled)
		r.secondary.Plug()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NotZero(t, r.Status().Reconciled)
		require.Len(t, r.copies(), 4)
	})
}

// A secondary was restored from a copy that was made before a destroy: what was destroyed goes again.
func TestReconcileBuriesWhatComesBack(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	_, err := r.DestroyKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	old := providertest.NewFake(t)
	_, err = old.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	r.primary, r.secondary = r.primary.Reopen(), old
	startRig(t, r)
	report, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Version{{"k", 1}}, report.Finished)
	require.Empty(t, r.copies())
}

// In mode full a pass brings the private halves that a time in public_only has left out.
func TestReconcileCompletesPrivateHalves(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k", Export: provider.ExportSecretWhenAllowed})
	r.create(provider.KeySpec{KID: "kept", Export: provider.ExportNone})
	r.cfg.Mode = Full
	r = r.restart()
	report, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Version{{"k", 1}}, report.Copied)
	for kid, want := range map[string]bool{"k": true, "kept": false} {
		ref, err := r.secondary.GetKey(t.Context(), kid, 1)
		require.NoError(t, err)
		require.Equal(t, want, ref.Private)
	}
}

// A key that its policy lets out and the primary keeps, as a token does with CKA_EXTRACTABLE false, is no work that a pass does again
// and again.
func TestReconcileLeavesPrivateHalvesThatThePrimaryKeeps(t *testing.T) {
	r := newRig(t, Config{Mode: Full})
	r.primary.Refuse(provider.ErrNotExportable, "ExportKey")
	ref := r.create(provider.KeySpec{KID: "k", Export: provider.ExportSecretWhenAllowed})
	require.True(t, ref.Mirroring.Mirrored)
	require.False(t, ref.Mirroring.Private)
	report, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Empty(t, report.Copied)
	require.Empty(t, report.Unmirrored)

	r.primary.Refuse(nil, "ExportKey")
	_, err = r.Reconcile(t.Context())
	require.NoError(t, err)
	copied, err := r.secondary.GetKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.True(t, copied.Private, "and is asked for at every pass")
}

// A copy that a store of its own names kept, whose place was never noted, is found and not made twice.
func TestCopyWhosePlaceWasLostIsFound(t *testing.T) {
	r := newPlainRig(t, Config{})
	ref := r.create(provider.KeySpec{KID: "k"})
	r.cfg.ManifestDir = tempDir(t)
	r.primary.Unplug()
	r = r.restart()
	kids, _ := r.jwks("")
	require.Empty(t, kids, "and it is not served under the name that it has there")
	list, err := r.ListKeys(t.Context())
	require.NoError(t, err)
	require.Empty(t, list.Keys)
	r.primary.Plug()
	_, err = r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Len(t, r.copies(), 1)
	r.primary.Unplug()
	require.Equal(t, ref.Fingerprint, r.x("k", 1))
	kids, _ = r.jwks("")
	require.Equal(t, []string{"k.1"}, kids)
}

// Another key stands where a copy should go: it is neither taken for the copy nor touched.
func TestCopyWhosePlaceIsTaken(t *testing.T) {
	for _, plain := range []bool{false, true} {
		other := newRig(t, Config{})
		if plain {
			other = newPlainRig(t, Config{})
		}
		theirs := other.create(provider.KeySpec{KID: "k"})
		require.NoError(t, other.Close())
		r := startRig(t, &rig{t: t, plain: plain, primary: providertest.NewFake(t), secondary: other.secondary.Reopen()})
		ours, err := r.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
		require.NoError(t, err)
		require.False(t, ours.Mirroring.Mirrored)
		require.Contains(t, ours.Mirroring.Reason, provider.ErrExists.Error())
		list, err := r.secondary.ListKeys(t.Context())
		require.NoError(t, err)
		require.Len(t, list.Keys, 1)
		require.Equal(t, theirs.Fingerprint, list.Keys[0].Fingerprint)
		r.primary.Unplug()
		_, err = r.PublicJWK(t.Context(), "k", 1)
		require.Error(t, err)
	}
}

// A pass over two stores that agree writes to neither, and asks for no public half that it knows.
func TestAPassOverWhatIsWellWritesNothing(t *testing.T) {
	for _, mode := range []Mode{PublicOnly, Full} {
		r := newRig(t, Config{Mode: mode})
		for kid, spec := range map[string]provider.KeySpec{
			"pair":       {Alg: provider.Ed25519},
			"exportable": {Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed},
			"kept":       {Alg: provider.AES256GCM},
			"secret":     {Alg: provider.AES256GCM, Export: provider.ExportSecretWhenAllowed},
		} {
			spec.KID = kid
			_, err := r.CreateKey(t.Context(), spec)
			require.NoError(t, err)
		}
		_, err := r.Reconcile(t.Context())
		require.NoError(t, err)
		r.primary.ResetCalls()
		r.secondary.ResetCalls()
		report, err := r.Reconcile(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Copied)
		require.Empty(t, report.Unmirrored)
		require.Zero(t, r.secondary.Calls("PutVersion", "ImportKey", "CreateKey"), mode)
		require.Zero(t, r.primary.Calls("PublicJWK", "ExportKey"), mode)
	}
}

// A key that was replaced on the token is not copied where its copy is missing either.
func TestReplacedKeyIsNotCopied(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	r.primary.Swap("k", 1)
	r.secondary.Forget("k", 1)
	report, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Len(t, report.Conflicts, 1)
	require.Empty(t, report.Copied)
	require.Empty(t, r.copies())
}

// The original's defect M10, and more: a key that was destroyed on the token itself stays refused when the token is away.
func TestRefusedOrphanStaysRefusedDuringAnOutage(t *testing.T) {
	r := newRig(t, Config{RefuseOrphans: true})
	r.create(provider.KeySpec{KID: "k"})
	r.create(provider.KeySpec{KID: "other"})
	r.primary.Forget("k", 1)
	report, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Version{{"k", 1}}, report.Orphans)
	r.primary.Unplug()
	r = r.restart()
	_, err = r.GetKey(t.Context(), "k", 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	kids, _ := r.jwks("")
	require.Equal(t, []string{"other.1"}, kids)
	require.Equal(t, []string{"k.1", "other.1"}, r.copies(), "and nothing was deleted")

	r.cfg.RefuseOrphans = false
	r = r.restart()
	ref, err := r.GetKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.True(t, ref.Provenance.Orphan, "where orphans are served they say so")
}

// A primary that shows less than it has for a moment has no orphans.
func TestAnAbsenceIsLookedAtTwice(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	require.NoError(t, r.Close())
	m, err := New(&blinking{r.primary.Reopen(), 2}, r.secondary.Reopen(), r.cfg)
	require.NoError(t, err)
	defer m.Close()
	report, err := m.Reconcile(t.Context())
	require.NoError(t, err)
	require.Empty(t, report.Orphans)
}

// blinking is a store that answers its first questions about a key as if it had none.
type blinking struct {
	*providertest.Fake
	blinks int
}

func (b *blinking) ListVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	if b.blinks--; b.blinks > 0 {
		return provider.KeyList{}, provider.NotFound(kid, 0)
	}
	return b.Fake.ListVersions(ctx, kid)
}

func (b *blinking) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	if kid != ManifestKID && b.blinks > 0 {
		return provider.KeyRef{}, provider.NotFound(kid, version)
	}
	return b.Fake.GetKey(ctx, kid, version)
}
