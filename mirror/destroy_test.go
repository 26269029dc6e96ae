package mirror

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// requireGone requires that the mirror serves no trace of a version.
func requireGone(t *testing.T, m *Mirror, kid string, version int) {
	t.Helper()
	ctx := context.Background()
	_, err := m.GetKey(ctx, kid, version)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = m.PublicJWK(ctx, kid, version)
	require.ErrorIs(t, err, provider.ErrNotFound)
	set, err := m.JWKS(ctx, "")
	require.NoError(t, err)
	_, published := set.Key(provider.JWKKID(kid, version))
	require.False(t, published)
	if list, err := m.ListVersions(ctx, kid); err == nil {
		require.NotContains(t, names(list), provider.JWKKID(kid, version))
	}
	list, err := m.ListKeys(ctx)
	require.NoError(t, err)
	require.NotContains(t, names(list), provider.JWKKID(kid, version))
	_, err = m.Signer(ctx, kid, version)
	require.ErrorIs(t, err, provider.ErrNotFound)
}

func TestDestroyIsCarriedToTheSecondary(t *testing.T) {
	for name, r := range map[string]*rig{"replica": newRig(t, Config{}), "own names": newPlainRig(t, Config{})} {
		t.Run(name, func(t *testing.T) {
			r.create(provider.KeySpec{KID: "k"})
			r.rotate("k")
			r.create(provider.KeySpec{KID: "other"})
			d, err := r.DestroyKey(t.Context(), "k", 1)
			require.NoError(t, err)
			require.Equal(t, provider.Destruction{KID: "k", Versions: []int{1}, Mirroring: &provider.Mirroring{Mirrored: true}}, d)
			require.Len(t, r.copies(), 2)
			d, err = r.DestroyKey(t.Context(), "k", provider.AllVersions)
			require.NoError(t, err)
			require.Equal(t, []int{2}, d.Versions)
			require.Len(t, r.copies(), 1)
			_, err = r.DestroyKey(t.Context(), "k", provider.AllVersions)
			require.ErrorIs(t, err, provider.ErrNotFound)

			r.primary.Unplug()
			requireGone(t, r.Mirror, "k", 1)
			requireGone(t, r.Mirror, "k", 2)
			_, err = r.GetKey(t.Context(), "k", 0)
			require.ErrorIs(t, err, provider.ErrNotFound, "all of its versions are known to be destroyed")
			r.primary.Plug()
		})
	}
}

// Writes of one kid take turns, and nobody waits for his turn longer than he wants to.
func TestWritesWaitForTheirKIDByContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		ref := r.create(provider.KeySpec{KID: "k"})
		material, err := provider.Material(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
		require.NoError(t, err)
		unlock, err := r.kids.lock(t.Context(), "k")
		require.NoError(t, err)
		defer unlock()
		spec := provider.KeySpec{KID: "k", Alg: provider.Ed25519}
		for name, write := range map[string]func(ctx context.Context) error{
			"CreateKey":  func(ctx context.Context) error { _, err := r.CreateKey(ctx, spec); return err },
			"ImportKey":  func(ctx context.Context) error { _, err := r.ImportKey(ctx, spec, material); return err },
			"RotateKey":  func(ctx context.Context) error { _, err := r.RotateKey(ctx, "k", provider.Rotation{}); return err },
			"PutVersion": func(ctx context.Context) error { _, err := r.PutVersion(ctx, ref, material); return err },
			"DestroyKey": func(ctx context.Context) error { _, err := r.DestroyKey(ctx, "k", 1); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			require.ErrorIs(t, write(ctx), context.DeadlineExceeded, name)
			require.Equal(t, time.Second, time.Since(start), name)
			cancel()
		}
		require.Equal(t, []string{"k.1"}, r.copies())
	})
}

// In the mode none the secondary is not the mirror's to destroy in.
func TestDestroyLeavesASecondaryAloneThatNothingIsCopiedTo(t *testing.T) {
	r := newRig(t, Config{Mode: None})
	for _, f := range []*providertest.Fake{r.primary, r.secondary} {
		_, err := f.CreateKey(t.Context(), provider.KeySpec{KID: "both", Alg: provider.Ed25519})
		require.NoError(t, err)
	}
	_, err := r.secondary.CreateKey(t.Context(), provider.KeySpec{KID: "theirs", Alg: provider.Ed25519})
	require.NoError(t, err)
	_, err = r.DestroyKey(t.Context(), "theirs", 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = r.DestroyKey(t.Context(), "both", 1)
	require.NoError(t, err)
	require.Equal(t, []string{"both.1", "theirs.1"}, r.copies())
	require.Empty(t, r.Status().Pending)
}

func TestDestroyWhileThePrimaryIsDown(t *testing.T) {
	tests := []struct {
		name  string
		fault func(*rig)
	}{
		{"unplugged", func(r *rig) { r.primary.Unplug() }},
		{"unplugged just then", func(r *rig) { r.primary.Refuse(provider.ErrUnavailable, "DestroyKey") }},
		{"hangs just then", func(r *rig) { r.primary.Hang("DestroyKey") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				r.create(provider.KeySpec{KID: "k"})
				synctest.Wait()
				tt.fault(r)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := r.DestroyKey(ctx, "k", 1)
				require.Error(t, err)
				require.True(t, errors.Is(err, provider.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded))
				r.primary.Release()
				r.primary.Refuse(nil)
				r.primary.Unplug()
				require.NotEmpty(t, r.x("k", 1), "nothing changed, and the key goes on to be served")
				require.Equal(t, []string{"k.1"}, r.copies())
				r = r.restart()
				require.NotEmpty(t, r.x("k", 1), "also after a restart")
				r.primary.Plug()
				time.Sleep(time.Minute)
				synctest.Wait()
				ref, err := r.GetKey(t.Context(), "k", 1)
				require.NoError(t, err)
				require.Equal(t, provider.Primary, ref.Provenance.Source, "the primary was asked, and still holds it")
				require.Empty(t, r.Status().Pending)
			})
		})
	}
}

// The primary carries a destroy out and its answer is lost: once it is back the version is known to be destroyed.
func TestAnswerToADestroyIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := tempDir(t)
		primary, secondary := providertest.NewFake(t), providertest.NewFake(t)
		m, err := New(&deaf{primary}, secondary, Config{ManifestDir: dir})
		require.NoError(t, err)
		defer m.Close()
		_, err = m.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
		require.NoError(t, err)
		_, err = m.DestroyKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrUnavailable)
		time.Sleep(time.Minute)
		synctest.Wait()
		requireGone(t, m, "k", 1)
		require.Empty(t, m.Status().Pending)
		require.Equal(t, 1, m.Status().Tombstones)
		_, err = secondary.GetKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrNotFound)
	})
}

// deaf is a store whose answers to a destroy are lost.
type deaf struct{ *providertest.Fake }

func (d *deaf) DestroyKey(ctx context.Context, kid string, version int) (provider.Destruction, error) {
	if _, err := d.Fake.DestroyKey(ctx, kid, version); err != nil {
		return provider.Destruction{}, err
	}
	return provider.Destruction{}, provider.ErrUnavailable
}

// What the primary answers to a destroy is believed, whatever it listed before.
func TestWhatThePrimaryAnswersToADestroy(t *testing.T) {
	tests := []struct {
		name     string
		destroy  func(f *providertest.Fake) (provider.Destruction, error)
		want     []int
		mirrored bool
		reason   string
	}{
		{"someone else was faster", func(f *providertest.Fake) (provider.Destruction, error) {
			f.Forget("k", 1)
			return provider.Destruction{}, provider.NotFound("k", 0)
		}, []int{1}, true, ""},
		{"a rotation was faster, and its version is gone with the others", func(f *providertest.Fake) (provider.Destruction, error) {
			if _, err := f.RotateKey(context.Background(), "k", provider.Rotation{}); err != nil {
				return provider.Destruction{}, err
			}
			return f.DestroyKey(context.Background(), "k", provider.AllVersions)
		}, []int{1, 2}, true, ""},
		{"a primary that is a mirror itself did not reach its secondary", func(f *providertest.Fake) (provider.Destruction, error) {
			d, err := f.DestroyKey(context.Background(), "k", provider.AllVersions)
			d.Mirroring = &provider.Mirroring{Reason: "away"}
			return d, err
		}, []int{1}, false, "primary: away"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			primary, secondary := providertest.NewFake(t), providertest.NewFake(t)
			m, err := New(&meddler{primary, tt.destroy}, secondary, Config{ManifestDir: tempDir(t)})
			require.NoError(t, err)
			defer func() { require.NoError(t, m.Close()) }()
			_, err = m.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
			require.NoError(t, err)
			d, err := m.DestroyKey(t.Context(), "k", provider.AllVersions)
			require.NoError(t, err)
			require.Equal(t, tt.want, d.Versions)
			require.Equal(t, tt.mirrored, d.Mirroring.Mirrored)
			require.Equal(t, tt.reason, d.Mirroring.Reason)
			for _, n := range tt.want {
				require.True(t, m.state.current().destroyed("k", n))
			}
			primary.Unplug()
			requireGone(t, m, "k", 1)
			primary.Plug()
		})
	}
}

// meddler is a store in which a destroy meets with something.
type meddler struct {
	*providertest.Fake
	destroy func(*providertest.Fake) (provider.Destruction, error)
}

func (m *meddler) DestroyKey(context.Context, string, int) (provider.Destruction, error) {
	return m.destroy(m.Fake)
}

// A primary that refuses a destroy has touched nothing, and nothing is left to be asked later.
func TestDestroyThatThePrimaryRefuses(t *testing.T) {
	for _, refusal := range []error{provider.ErrUnsupported, provider.ErrInvalid} {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		r.primary.Refuse(refusal, "DestroyKey")
		_, err := r.DestroyKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, refusal)
		require.Empty(t, r.Status().Pending)
		e, _ := r.state.current().get(Version{"k", 1})
		require.Nil(t, e.Intent)
		require.NotEmpty(t, r.x("k", 1))
	}
}

// A pass carries on what a destroy has left, and says what it has finished.
func TestAPassFinishesADestroy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		r.rotate("k")
		r.rotate("k")
		r.create(provider.KeySpec{KID: "other"})
		_, err := r.DestroyKey(t.Context(), "k", 2)
		require.NoError(t, err)
		synctest.Wait()
		r.secondary.Refuse(provider.ErrUnavailable, "DestroyKey")
		d, err := r.DestroyKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.False(t, d.Mirroring.Mirrored)
		report, err := r.Reconcile(t.Context())
		require.Error(t, err)
		require.Empty(t, report.Finished)
		r.secondary.Refuse(nil)
		report, err = r.Reconcile(t.Context())
		require.NoError(t, err)
		require.Equal(t, []Version{{"k", 1}}, report.Finished)
		report, err = r.Reconcile(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Finished)

		r.primary.Refuse(provider.ErrUnavailable, "DestroyKey")
		_, err = r.DestroyKey(t.Context(), "other", 1)
		require.ErrorIs(t, err, provider.ErrUnavailable)
		r.primary.Refuse(nil)
		report, err = r.Reconcile(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Finished, "the caller was told that it failed, and the primary still has it")
		require.Empty(t, r.Status().Pending)
	})
}

// An orphan can be destroyed while the store that holds it is away: it is gone from then on, and its copy later.
func TestDestroyOfAnOrphanThatIsOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		r.primary.Forget("k", 1)
		r.secondary.Unplug()
		d, err := r.DestroyKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.Equal(t, []int{1}, d.Versions)
		require.False(t, d.Mirroring.Mirrored)
		r.secondary.Plug()
		requireGone(t, r.Mirror, "k", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, r.copies())
	})
}

// All copies together are given the secondary's time limit once.
func TestHangingSecondaryDelaysADestroyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		r.rotate("k")
		r.rotate("k")
		synctest.Wait()
		r.secondary.Hang("DestroyKey")
		start := time.Now()
		d, err := r.DestroyKey(t.Context(), "k", provider.AllVersions)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3}, d.Versions)
		require.False(t, d.Mirroring.Mirrored)
		require.Equal(t, DefaultSecondaryTimeout, time.Since(start))
		require.Equal(t, []Version{{"k", 1}, {"k", 2}, {"k", 3}}, r.Status().Pending)
		r.secondary.Release()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, r.copies())
		require.Empty(t, r.Status().Pending)
	})
}

// A process is still copying what another one destroys: the copy that arrives late goes again.
func TestCopyThatArrivesAfterTheDestroy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newRig(t, Config{})
		b := startRig(t, &rig{t: t, cfg: Config{ManifestDir: a.cfg.ManifestDir}, primary: a.primary.Reopen(), secondary: a.secondary.Reopen()})
		a.create(provider.KeySpec{KID: "warm-up"})
		b.x("warm-up", 1)
		time.Sleep(time.Second) // for the first passes, which wait for each other's lock
		a.secondary.Hang("PutVersion")
		created := make(chan provider.Mirroring)
		go func() {
			ref, err := a.CreateKey(context.Background(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
			if err != nil {
				t.Error(err)
			}
			created <- *ref.Mirroring
		}()
		synctest.Wait()
		_, err := b.DestroyKey(t.Context(), "k", 1)
		require.NoError(t, err)
		a.secondary.Release()
		mirroring := <-created
		require.False(t, mirroring.Mirrored)
		require.Contains(t, mirroring.Reason, "destroyed meanwhile")
		require.Contains(t, a.copies(), "k.1")
		require.Equal(t, []Version{{"k", 1}}, a.Status().Pending)
		requireGone(t, a.Mirror, "k", 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"warm-up.1"}, a.copies())
	})
}

// A destroy by another process, between the two questions that make an orphan, is seen.
func TestDestroyWhileAnOrphanIsLookedAt(t *testing.T) {
	a := newRig(t, Config{})
	a.create(provider.KeySpec{KID: "k"})
	require.NoError(t, a.Close())
	primary, secondary := a.primary.Reopen(), a.secondary.Reopen()
	b := startRig(t, &rig{t: t, cfg: Config{ManifestDir: a.cfg.ManifestDir}, primary: primary.Reopen(), secondary: secondary.Reopen()})
	b.secondary.Refuse(provider.ErrUnavailable, "DestroyKey")
	m, err := New(&lagging{primary, sync.OnceFunc(func() { // a pass in the background may ask too
		_, err := b.DestroyKey(context.Background(), "k", 1)
		require.NoError(t, err)
	})}, secondary, Config{ManifestDir: a.cfg.ManifestDir})
	require.NoError(t, err)
	defer m.Close()
	set, err := m.JWKS(t.Context(), "")
	require.NoError(t, err)
	require.Zero(t, set.Len())
	require.Equal(t, []string{"k.1"}, b.copies(), "though its copy is still there")
}

// lagging is a store whose JWK Set lacks every key, and that calls asked before it describes one.
type lagging struct {
	*providertest.Fake
	asked func()
}

func (l *lagging) JWKS(context.Context, string) (provider.JWKSet, error) {
	return provider.NewJWKSet(nil, provider.FromPrimary(time.Now())), nil
}

func (l *lagging) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	if kid != ManifestKID {
		l.asked()
	}
	return l.Fake.GetKey(ctx, kid, version)
}

// A primary that holds a destroyed version again, restored from a copy made before, does not bring it back.
func TestRestoredPrimaryBringsNothingBack(t *testing.T) {
	r := newRig(t, Config{})
	ref := r.create(provider.KeySpec{KID: "k"})
	key, err := r.PublicJWK(t.Context(), "k", 1)
	require.NoError(t, err)
	material, err := provider.PublicMaterial(key.PublicKey())
	require.NoError(t, err)
	r.rotate("k")
	r.create(provider.KeySpec{KID: "gone"})
	_, err = r.DestroyKey(t.Context(), "k", 2)
	require.NoError(t, err)
	_, err = r.DestroyKey(t.Context(), "gone", 1)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	r.primary, r.secondary = providertest.NewFake(t), r.secondary.Reopen()
	for _, v := range []Version{{"k", 1}, {"k", 2}, {"gone", 1}} {
		ref.KID, ref.Version = v.KID, v.Version
		_, err = r.primary.PutVersion(t.Context(), ref, material)
		require.NoError(t, err)
	}
	startRig(t, r)
	requireGone(t, r.Mirror, "k", 2)
	requireGone(t, r.Mirror, "gone", 1)
	got, err := r.GetKey(t.Context(), "k", 0)
	require.NoError(t, err)
	require.Equal(t, 1, got.Version, "the latest version is the highest one that was not destroyed")
	report, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Len(t, report.Problems, 2)
	require.ErrorIs(t, report.Problems[0], provider.ErrTampered)
	require.Empty(t, report.Copied)

	d, err := r.DestroyKey(t.Context(), "gone", 1)
	require.NoError(t, err, "and it can be destroyed once more")
	require.Equal(t, []int{1}, d.Versions)
}

// fuse cuts a process off after a number of steps: every later one fails, and nothing that it does reaches a disk or a
// store. A step is a change of a file or a call of DestroyKey.
type fuse struct {
	mu      sync.Mutex
	steps   int // until it blows; negative: never
	taken   int
	primary *providertest.Fake
	second  *providertest.Fake
}

// set lets n more steps through; all if n is negative.
func (f *fuse) set(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps, f.taken = n, 0
}

func (f *fuse) step() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps >= 0 && f.taken >= f.steps {
		f.primary.Unplug()
		f.second.Unplug()
		return errors.New("cut off")
	}
	f.taken++
	return nil
}

func (f *fuse) file(op fileops.Op) error {
	switch op.Kind {
	case fileops.OpCreate, fileops.OpWrite, fileops.OpSync, fileops.OpRename, fileops.OpSyncDir, fileops.OpRemove:
		return f.step()
	}
	return nil
}

// fused is a store of a process with a fuse.
type fused struct {
	*providertest.Fake
	fuse *fuse
}

func (f *fused) DestroyKey(ctx context.Context, kid string, version int) (provider.Destruction, error) {
	if err := f.fuse.step(); err != nil {
		return provider.Destruction{}, provider.ErrUnavailable
	}
	return f.Fake.DestroyKey(ctx, kid, version)
}

// A process dies after any step of a destroy. With both stores up the next one finishes it or finds it not begun; with the
// primary down, or emptied meanwhile, it does not serve what the primary has destroyed.
func TestCrashAtEveryStepOfADestroy(t *testing.T) {
	for _, primary := range []string{"up", "down", "empty"} {
		for _, pinned := range []bool{false, true} {
			done := false
			for n := 0; !done; n++ {
				synctest.Test(t, func(t *testing.T) { done = crashDestroy(t, n, primary, pinned) })
				require.Less(t, n, 100)
			}
		}
	}
}

func crashDestroy(t *testing.T, n int, is string, pinned bool) (done bool) {
	primary, secondary := providertest.NewFake(t), providertest.NewFake(t)
	cfg := Config{ManifestDir: tempDir(t)}
	f := &fuse{steps: -1, primary: primary, second: secondary}
	m, err := newMirror(&fused{primary, f}, &fused{secondary, f}, cfg, f.file)
	require.NoError(t, err)
	_, err = m.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	if pinned {
		cfg.Pin, err = m.ManifestPin(t.Context())
		require.NoError(t, err)
	}
	synctest.Wait()

	f.taken, f.steps = 0, n
	_, destroyed := m.DestroyKey(t.Context(), "k", 1)
	done = f.taken < n
	require.True(t, !done || destroyed == nil)
	f.steps = 0 // nothing more gets out of this process
	require.NoError(t, m.Close())
	primary.Plug()
	secondary.Plug()

	onPrimary := primary.Reopen()
	defer onPrimary.Close()
	_, err = onPrimary.GetKey(t.Context(), "k", 1)
	carriedOut := errors.Is(err, provider.ErrNotFound)
	require.True(t, carriedOut || destroyed != nil)
	next := primary.Reopen()
	switch is {
	case "down":
		primary.Unplug()
	case "empty":
		require.NoError(t, next.Close())
		next = providertest.NewFake(t)
	}
	m, err = New(next, secondary.Reopen(), cfg)
	require.NoError(t, err)
	defer m.Close()
	_, err = m.PublicJWK(t.Context(), "k", 1)
	if carriedOut {
		require.ErrorIs(t, err, provider.ErrNotFound, "step %d", n)
	}
	primary.Plug()
	time.Sleep(time.Minute)
	synctest.Wait()
	require.Empty(t, m.Status().Pending, "step %d", n)
	ref, err := m.GetKey(t.Context(), "k", 1)
	switch {
	case carriedOut:
		requireGone(t, m, "k", 1)
		onSecondary := secondary.Reopen()
		defer onSecondary.Close()
		_, err = onSecondary.GetKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrNotFound)
	case is == "empty" && err == nil:
		require.True(t, ref.Provenance.Orphan, "step %d: not begun, and the primary was emptied", n)
	case is != "empty":
		_, perr := onPrimary.GetKey(t.Context(), "k", 1)
		require.Equal(t, perr == nil, err == nil, "step %d", n)
	}
	return done
}
