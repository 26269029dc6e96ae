package mirror

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestWhenAReadFailsOver(t *testing.T) {
	tampered := fmt.Errorf("%w: for the test", provider.ErrTampered)
	tests := []struct {
		name  string
		cfg   Config
		fault func(*rig)
		want  error // compared with errors.Is
		from  provider.Source
		after time.Duration // how long the caller waited
	}{
		{"primary answers", Config{}, func(*rig) {}, nil, provider.Primary, 0},
		{"primary is unplugged", Config{}, func(r *rig) { r.primary.Unplug() }, nil, provider.Secondary, 0},
		{"primary hangs", Config{}, func(r *rig) { r.primary.Hang() }, nil, provider.Secondary, 5 * time.Second},
		{"primary hangs and its limit is short", Config{PrimaryTimeout: time.Second}, func(r *rig) { r.primary.Hang() }, nil, provider.Secondary, time.Second},
		{"destroyed behind the mirror's back", Config{}, func(r *rig) { r.primary.Forget("k", 1) }, nil, provider.Secondary, 0},
		{"orphans are refused", Config{RefuseOrphans: true}, func(r *rig) { r.primary.Forget("k", 1) }, provider.ErrNotFound, 0, 0},
		{"orphans are refused and the primary is unplugged", Config{RefuseOrphans: true}, func(r *rig) { r.primary.Unplug() }, nil, provider.Secondary, 0},
		{"reads do not fail open", Config{NoFailOpenReads: true}, func(r *rig) { r.primary.Unplug() }, provider.ErrUnavailable, 0, 0},
		{"reads do not fail open for orphans", Config{NoFailOpenReads: true}, func(r *rig) { r.primary.Forget("k", 1) }, provider.ErrNotFound, 0, 0},
		{"a wrong PIN is no outage", Config{}, func(r *rig) { r.primary.Refuse(provider.ErrAuth) }, provider.ErrAuth, 0, 0},
		{"a damaged record is no outage", Config{}, func(r *rig) { r.primary.Refuse(tampered) }, provider.ErrTampered, 0, 0},
		{"a missing mechanism is no outage", Config{}, func(r *rig) { r.primary.Refuse(provider.ErrUnsupported) }, provider.ErrUnsupported, 0, 0},
		{"both are unplugged", Config{}, func(r *rig) { r.primary.Unplug(); r.secondary.Unplug() }, provider.ErrUnavailable, 0, 0},
		{"the secondary refuses its passphrase", Config{}, func(r *rig) { r.primary.Unplug(); r.secondary.Refuse(provider.ErrAuth) }, provider.ErrUnavailable, 0, 0},
		{"the secondary's record is damaged", Config{}, func(r *rig) { r.primary.Unplug(); r.secondary.Refuse(tampered) }, provider.ErrTampered, 0, 0},
		{"an orphan's record is damaged", Config{}, func(r *rig) { r.primary.Forget("k", 1); r.secondary.Refuse(tampered) }, provider.ErrNotFound, 0, 0},
		{"the secondary never had it", Config{}, func(r *rig) { r.secondary.Forget("k", 1); r.primary.Unplug() }, provider.ErrUnavailable, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.cfg)
				ref := r.create(provider.KeySpec{KID: "k"})
				synctest.Wait()
				tt.fault(r)
				start := time.Now()
				got, err := r.GetKey(t.Context(), "k", 1)
				require.Equal(t, tt.after, time.Since(start))
				require.ErrorIs(t, err, tt.want)
				require.Equal(t, tt.from, got.Provenance.Source)
				if tt.want == nil {
					require.Equal(t, ref.Fingerprint, got.Fingerprint)
				}
				jwk, err := r.PublicJWK(t.Context(), "k", 1)
				require.ErrorIs(t, err, tt.want)
				require.Equal(t, tt.from, jwk.Provenance.Source)
				r.primary.Release()
			})
		})
	}
}

func TestProvenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		time.Sleep(time.Hour)
		seen := time.Now()
		ref, err := r.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.Equal(t, provider.FromPrimary(seen), ref.Provenance)
		_, err = r.Reconcile(t.Context()) // which brings the confirmation into the manifest
		require.NoError(t, err)

		r.primary.Unplug()
		check := func(stale bool) {
			t.Helper()
			ref, err = r.GetKey(t.Context(), "k", 0)
			require.NoError(t, err)
			require.Contains(t, ref.Provenance.Reason, "unplugged")
			ref.Provenance.Reason = ""
			require.Equal(t, provider.Provenance{Source: provider.Secondary, AsOf: seen.UTC(), Stale: stale, Unauthenticated: true}, ref.Provenance)
			_, set := r.jwks("")
			require.Equal(t, stale, set.Provenance.Stale)
			require.Equal(t, seen.UTC(), set.Provenance.AsOf)
		}
		check(false)
		time.Sleep(24*time.Hour - time.Since(seen) - time.Second)
		check(false)
		time.Sleep(time.Second)
		check(true)
		r = r.restart()
		check(true)
	})
}

// Without a state directory a new Mirror can't tell when the primary last confirmed anything.
func TestProvenanceUnknownIsStale(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	r.cfg.ManifestDir = ""
	r = r.restart()
	r.primary.Unplug()
	ref, err := r.GetKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.True(t, ref.Provenance.Stale)
	require.Zero(t, ref.Provenance.AsOf)
}

func TestReadsDuringAnOutageDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		r.primary.Hang()
		_, err := r.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)

		start := time.Now()
		reads := map[string]func() error{
			"GetKey":       func() error { _, err := r.GetKey(t.Context(), "k", 0); return err },
			"ListKeys":     func() error { _, err := r.ListKeys(t.Context()); return err },
			"ListVersions": func() error { _, err := r.ListVersions(t.Context(), "k"); return err },
			"PublicJWK":    func() error { _, err := r.PublicJWK(t.Context(), "k", 0); return err },
			"JWKS":         func() error { _, err := r.JWKS(t.Context(), ""); return err },
			"RandomBytes":  func() error { _, err := r.RandomBytes(t.Context(), 8); return err },
			"HKDF":         func() error { _, err := r.HKDF(t.Context(), []byte("x"), nil, nil, 8); return err },
		}
		for name, read := range reads {
			require.NoError(t, read(), name)
		}
		_, err = r.Signer(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrUnavailable)
		require.Zero(t, time.Since(start))

		r.primary.Release()
		time.Sleep(maxProbeInterval)
		synctest.Wait()
		ref, err := r.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.Equal(t, provider.Primary, ref.Provenance.Source, "the recovery was noticed without being asked for")
	})
}

// An outage that the caller's own deadline hides is found by a probe: the next read fails over.
func TestCallersWithShortDeadlinesFindTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		r.primary.Hang()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.GetKey(ctx, "k", 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, r.Status().Primary.Down, "one caller's deadline proves nothing")
		time.Sleep(DefaultPrimaryTimeout)
		synctest.Wait()
		require.True(t, r.Status().Primary.Down, "the probe's does")
		ref, err := r.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.Equal(t, provider.Secondary, ref.Provenance.Source)
		r.primary.Release()
	})
}

// A write is always tried, and its answer ends the outage at once.
func TestAWriteFindsThePrimaryBack(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	r.primary.Unplug()
	_, err := r.GetKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.True(t, r.Status().Primary.Down)
	r.primary.Plug()
	r.rotate("k")
	require.False(t, r.Status().Primary.Down)
}

func TestProbesComeLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		r.primary.Unplug()
		_, err := r.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		r.primary.ResetCalls()
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, r.primary.Calls(), "nothing within the first second")
		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, r.primary.Calls("Health"))
		time.Sleep(time.Minute)
		r.primary.ResetCalls()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		calls := r.primary.Calls("Health")
		require.GreaterOrEqual(t, calls, 20)
		require.LessOrEqual(t, calls, 27, "every 30 s, up to a quarter less at random")
		require.Equal(t, calls, r.primary.Calls(), "and nothing else is asked")
	})
}

// An answer to a call that was begun before the outage is no sign of life.
func TestAnAnswerThatIsLateEndsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{PrimaryTimeout: time.Minute})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		r.primary.Hang("ListKeys")
		listed := make(chan error)
		go func() {
			_, err := r.ListKeys(context.Background())
			listed <- err
		}()
		time.Sleep(100 * time.Millisecond)
		r.primary.Refuse(provider.ErrUnavailable, "GetKey", "Health")
		_, err := r.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		r.primary.Release()
		require.NoError(t, <-listed)
		require.True(t, r.Status().Primary.Down)
		_, err = r.PublicJWK(t.Context(), "k", 1)
		require.NoError(t, err)
		require.True(t, r.Status().Primary.Down)
	})
}

// Calls that hung in an outage fail after its end: that is no new one.
func TestAFailureThatIsLateStartsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		r.primary.Hang("ListKeys")
		listed := make(chan error)
		go func() {
			_, err := r.ListKeys(context.Background())
			listed <- err
		}()
		time.Sleep(time.Second)
		r.primary.Unplug()
		_, err := r.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		r.primary.Plug()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.False(t, r.Status().Primary.Down)
		require.NoError(t, <-listed, "the secondary has answered")
		require.False(t, r.Status().Primary.Down)
		r.primary.Release()
	})
}

// After a real answer the next outage is probed for as quickly as the first.
func TestBackoffStartsAgainAfterAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		for range 3 {
			r.primary.Unplug()
			r.x("k", 1)
			time.Sleep(10 * time.Minute)
			r.primary.Plug()
			time.Sleep(time.Minute)
			r.x("k", 1)
		}
		r.primary.Unplug()
		r.x("k", 1)
		r.primary.Plug()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.False(t, r.Status().Primary.Down)
	})
}

// A secondary that answers with another key than it was asked for is not believed.
func TestSecondaryMixesUpItsKeys(t *testing.T) {
	for _, answer := range []Version{{"other", 1}, {"k", 2}} {
		a := newRig(t, Config{})
		a.create(provider.KeySpec{KID: "k"})
		a.rotate("k")
		a.create(provider.KeySpec{KID: "other"})
		require.NoError(t, a.Close())
		primary := a.primary.Reopen()
		m, err := New(primary, &mixedUp{a.secondary.Reopen(), answer}, Config{}) // a mirror that has not heard of any thumbprint
		require.NoError(t, err)
		defer m.Close()
		primary.Unplug()
		_, err = m.GetKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrTampered)
		_, err = m.PublicJWK(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrTampered)
	}
}

// mixedUp is a store that takes every key for one.
type mixedUp struct {
	provider.Provider
	answer Version
}

func (m *mixedUp) GetKey(ctx context.Context, _ string, _ int) (provider.KeyRef, error) {
	return m.Provider.GetKey(ctx, m.answer.KID, m.answer.Version)
}

func (m *mixedUp) PublicJWK(ctx context.Context, _ string, _ int) (provider.JWK, error) {
	return m.Provider.PublicJWK(ctx, m.answer.KID, m.answer.Version)
}

func TestBreakerHearsOutagesOnly(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	for _, err := range []error{provider.ErrNotFound, provider.ErrAuth, provider.ErrInvalid, provider.ErrNotExportable, provider.ErrUnsupported, provider.ErrTampered, provider.ErrExists, provider.ErrStale} {
		r.primary.Refuse(err, "GetKey", "CreateKey")
		_, _ = r.GetKey(t.Context(), "k", 1)
		_, _ = r.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519})
		require.False(t, r.Status().Primary.Down, err)
	}
	r.primary.Hang("GetKey")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.GetKey(ctx, "k", 1)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, r.Status().Primary.Down, "a caller that left is no outage")
	r.primary.Release()
}

// State changes are logged once, not for each call.
func TestOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		r.primary.Unplug()
		for range 100 {
			_, err := r.GetKey(t.Context(), "k", 1)
			require.NoError(t, err)
		}
		time.Sleep(time.Hour)
		r.primary.Plug()
		time.Sleep(time.Minute)
		synctest.Wait()
		log := r.log.String()
		require.Regexp(t, `(?s)^[^\n]*level=WARN msg="store is down" store=primary cause="primary: fake: GetKey: store unavailable: unplugged"\n[^\n]*level=INFO msg="store is back" store=primary after=1h[^\n]*\n$`, log)
	})
}

func TestLatestVersionDuringAnOutage(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	second := r.rotate("k")
	r.secondary.Unplug()
	third, err := r.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(t, err)
	require.False(t, third.Mirroring.Mirrored)
	r.primary.Unplug()
	r.secondary.Plug()

	_, err = r.GetKey(t.Context(), "k", 0)
	require.ErrorIs(t, err, provider.ErrUnavailable, "version 3 is the latest, and version 2 would be a wrong answer")
	require.ErrorContains(t, err, `"k.3"`)
	ref, err := r.GetKey(t.Context(), "k", 2)
	require.NoError(t, err)
	require.Equal(t, second.Fingerprint, ref.Fingerprint)
	require.Equal(t, provider.Retired, ref.State, "version 3 is known to have taken its place")
	list, err := r.ListVersions(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, []string{"k.1", "k.2"}, names(list))
	require.Len(t, list.Problems, 1)
	require.ErrorContains(t, list.Problems[0], `version "k.3" is known and not on the mirror`)
	kids, _ := r.jwks("")
	require.Empty(t, kids, "what version 3 retired stays retired")
}

func TestSymmetricKeysDuringAnOutage(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	r.create(provider.KeySpec{KID: "secret", Alg: provider.AES256GCM})
	r.primary.Unplug()
	_, err := r.GetKey(t.Context(), "secret", 1)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.NotErrorIs(t, err, provider.ErrNotFound)
	_, err = r.ListVersions(t.Context(), "secret")
	require.ErrorIs(t, err, provider.ErrUnavailable)
	list, err := r.ListKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"k.1"}, names(list))
	require.Len(t, list.Problems, 1)
	require.EqualError(t, list.Problems[0], "1 keys of the primary are not on the mirror")
}

// A rotation that took effect before the outage runs on during it; one that did not waits for the primary, and so does what
// it would retire.
func TestScheduleDuringAnOutage(t *testing.T) {
	states := func(s ...provider.State) []provider.State { return s }
	tests := []struct {
		name  string
		after time.Duration // from the rotation to the outage
		want  [][]provider.State
	}{
		{"retiring goes on", time.Hour, [][]provider.State{states(provider.Retiring, provider.Active), states(provider.Retired, provider.Active)}},
		{"activation does not", 0, [][]provider.State{states(provider.Active, provider.Pending), states(provider.Active, provider.Pending), states(provider.Active, provider.Pending)}},
	}
	for _, tt := range tests {
		for name, start := range map[string]func(testing.TB, Config) *rig{"replica": newRig, "own names": newPlainRig} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, Config{})
					r.create(provider.KeySpec{KID: "k"})
					_, err := r.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{PublishBefore: time.Hour, RetireAfter: time.Hour}})
					require.NoError(t, err)
					time.Sleep(tt.after)
					r.x("k", 2)
					r.primary.Unplug()
					for _, want := range tt.want {
						list, err := r.ListVersions(t.Context(), "k")
						require.NoError(t, err)
						require.Equal(t, want, []provider.State{list.Keys[0].State, list.Keys[1].State})
						kids, _ := r.jwks("k")
						require.Equal(t, want[0] != provider.Retired, len(kids) == 2, "%v", kids)
						time.Sleep(time.Hour)
					}
				})
			})
		}
	}
}

// While the secondary hangs, reads of a healthy primary wait for it once.
func TestHangingSecondaryDelaysHealthyReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		r.secondary.Hang()
		start := time.Now()
		kids, set := r.jwks("")
		require.Equal(t, []string{"k.1"}, kids)
		require.Equal(t, provider.Primary, set.Provenance.Source)
		require.Equal(t, DefaultSecondaryTimeout, time.Since(start))
		for range 10 {
			r.jwks("")
			list, err := r.ListKeys(t.Context())
			require.NoError(t, err)
			require.Len(t, list.Problems, 1)
			require.ErrorIs(t, list.Problems[0], provider.ErrUnavailable)
		}
		require.Equal(t, DefaultSecondaryTimeout, time.Since(start))
		r.secondary.Release()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, r.Status().Secondary.Down)
	})
}

func TestOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "a"})
		r.rotate("a")
		r.create(provider.KeySpec{KID: "b"})
		_, err := r.RotateKey(t.Context(), "b", provider.Rotation{})
		require.NoError(t, err)
		synctest.Wait() // for the passes that the writes asked for
		r.primary.Forget("b", 1)
		r.primary.Forget("a", 1)
		r.primary.Forget("a", 2)

		list, err := r.ListKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"a.2", "b.2"}, names(list))
		require.Equal(t, provider.Merged, list.Provenance.Source)
		require.True(t, list.Keys[0].Provenance.Orphan)
		require.Equal(t, provider.Primary, list.Keys[1].Provenance.Source)

		list, err = r.ListVersions(t.Context(), "b")
		require.NoError(t, err)
		require.Equal(t, []string{"b.1", "b.2"}, names(list))
		require.True(t, list.Keys[0].Provenance.Orphan)

		ref, err := r.GetKey(t.Context(), "a", 0)
		require.NoError(t, err)
		require.Equal(t, 2, ref.Version)
		require.True(t, ref.Provenance.Orphan)

		kids, set := r.jwks("")
		require.Equal(t, []string{"a.2", "b.1", "b.2"}, kids, "a.1 was retired, and an orphan does not come back")
		require.Equal(t, provider.Merged, set.Provenance.Source)
		synctest.Wait()
		r.primary.ResetCalls()
		r.jwks("")
		require.Zero(t, r.primary.Calls("GetKey"), "an orphan is asked for once")

		d, err := r.DestroyKey(t.Context(), "a", provider.AllVersions)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, d.Versions, "an orphan is destroyed through the mirror")
		kids, _ = r.jwks("")
		require.Equal(t, []string{"b.1", "b.2"}, kids)
		require.Equal(t, []string{"b.1", "b.2"}, r.copies())
	})
}

func TestModeNone(t *testing.T) {
	r := newRig(t, Config{Mode: None})
	r.create(provider.KeySpec{KID: "k"})
	foreign, err := r.secondary.CreateKey(t.Context(), provider.KeySpec{KID: "kept-by-hand", Alg: provider.Ed25519})
	require.NoError(t, err)
	kids, _ := r.jwks("")
	require.Equal(t, []string{"k.1"}, kids, "nothing of the secondary gets into the answers of a primary that is there")
	_, err = r.GetKey(t.Context(), "kept-by-hand", 1)
	require.ErrorIs(t, err, provider.ErrNotFound)

	r.primary.Unplug()
	require.Equal(t, foreign.Fingerprint, r.x("kept-by-hand", 1), "reads fail over to what someone else keeps there")
	_, err = r.GetKey(t.Context(), "k", 1)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	r.primary.Plug()

	report, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Equal(t, Report{At: report.At, Versions: 1}, report, "what else is there is no orphan")
	d, err := r.DestroyKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.True(t, d.Mirroring.Mirrored)
	require.Equal(t, []string{"kept-by-hand.1"}, r.copies(), "the secondary is never written")
}

// A version that the primary retired while no one told the mirror is no orphan: the primary still holds it.
func TestVersionThatThePrimaryRetiredIsNoOrphan(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	_, err := r.primary.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(t, err)
	kids, set := r.jwks("")
	require.Equal(t, []string{"k.2"}, kids)
	require.Equal(t, provider.Primary, set.Provenance.Source)
}

func TestEmptySetDuringAnOutage(t *testing.T) {
	r := newRig(t, Config{})
	_, set := r.jwks("")
	confirmed := set.Provenance.AsOf
	r.primary.Unplug()
	kids, set := r.jwks("")
	require.Empty(t, kids)
	require.Equal(t, `{"keys":[]}`, string(set.JSON()))
	require.False(t, set.Provenance.Stale)
	require.WithinDuration(t, confirmed, set.Provenance.AsOf, time.Minute)
}
