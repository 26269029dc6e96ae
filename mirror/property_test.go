package mirror

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// TestRandomHistories runs random sequences of changes and faults against a simple model: no wrong key ever, no destroyed
// key ever, nothing lost that was acknowledged, and no drift once everything is up again and was reconciled. Ten of them,
// unless -rapid.checks says how many other than 100, its default; ci/faults runs more.
func TestRandomHistories(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		require.NoError(t, checks.Value.Set("10"))
	}
	require.NoError(t, flag.Set("rapid.nofailfile", "true")) // a history is short enough to be read in the output
	steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 40)
	rapid.Check(t, func(rt *rapid.T) {
		history := steps.Draw(rt, "history")
		var failure error
		synctest.Test(t, func(t *testing.T) { failure = live(t.Context(), tempDir(t), history) })
		if failure != nil {
			rt.Fatal(failure)
		}
	})
}

// step is one thing that happens: to which key, how far, with how much time gone by before.
type step struct {
	what string
	kid  string
	n    int
	wait time.Duration
}

func drawStep(t *rapid.T) step {
	return step{
		what: rapid.SampledFrom([]string{
			"create", "create", "create", "rotate", "rotate", "import", "destroy", "destroy", "destroy all", "forget",
			"primary down", "primary up", "primary hangs", "secondary down", "secondary up", "secondary hangs", "restart", "crash", "reconcile",
		}).Draw(t, "what"),
		kid:  rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "kid"),
		n:    rapid.IntRange(1, 24).Draw(t, "n"),
		wait: rapid.SampledFrom([]time.Duration{0, 0, time.Second, time.Minute, 11 * time.Minute, 25 * time.Hour}).Draw(t, "wait"),
	}
}

// world is a mirror with all that surrounds it, and the model.
type world struct {
	m                  *Mirror
	primary, secondary *providertest.Fake
	fuse               *fuse
	cfg                Config
	dead               bool // the fuse is set: this process ends after the step

	keys      map[Version]string // thumbprint of every version that the primary ever held
	acked     map[Version]bool   // the caller was told that it exists
	destroyed map[Version]bool   // the caller was told that it is destroyed
	forgotten map[Version]bool   // the primary lost it behind the mirror's back
}

func live(ctx context.Context, dir string, history []step) (err error) {
	w := &world{
		primary: providertest.NewFake(nil), secondary: providertest.NewFake(nil), cfg: Config{ManifestDir: dir + "/mirror", StateDir: dir + "/own"},
		keys: map[Version]string{}, acked: map[Version]bool{}, destroyed: map[Version]bool{}, forgotten: map[Version]bool{},
	}
	if err := w.start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.m.Close()) }()
	if w.cfg.Pin, err = w.m.ManifestPin(ctx); err != nil {
		return err
	}
	if err := w.restart(); err != nil {
		return err
	}
	if _, err := w.m.Reconcile(ctx); err != nil { // the first manifest
		return err
	}
	for i, s := range history {
		time.Sleep(s.wait)
		if err := w.take(ctx, s); err != nil {
			return fmt.Errorf("step %d, %+v: %w", i, s, err)
		}
		if err := w.check(ctx); err != nil {
			return fmt.Errorf("after step %d, %+v: %w", i, s, err)
		}
	}
	return w.settle(ctx)
}

func (w *world) start() (err error) {
	w.fuse = &fuse{steps: -1, primary: w.primary, second: w.secondary}
	w.m, err = newMirror(&fused{w.primary.Reopen(), w.fuse}, &fused{w.secondary.Reopen(), w.fuse}, w.cfg, w.fuse.file)
	return err
}

func (w *world) restart() error {
	if err := w.m.Close(); err != nil {
		return err
	}
	return w.start()
}

func (w *world) take(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var ref provider.KeyRef
	var err error
	switch s.what {
	case "create":
		ref, err = w.m.CreateKey(ctx, provider.KeySpec{KID: s.kid, Alg: provider.Ed25519})
	case "import":
		ref, err = w.m.ImportKey(ctx, provider.KeySpec{KID: s.kid, Alg: provider.Ed25519}, foreign)
	case "rotate":
		ref, err = w.m.RotateKey(ctx, s.kid, provider.Rotation{})
	case "destroy", "destroy all":
		version := 1 + s.n%3
		if s.what == "destroy all" {
			version = provider.AllVersions
		}
		d, derr := w.m.DestroyKey(ctx, s.kid, version)
		for _, n := range d.Versions {
			w.destroyed[Version{s.kid, n}] = derr == nil
		}
	case "forget":
		w.forget(Version{s.kid, 1 + s.n%3})
	case "primary down":
		w.primary.Unplug()
	case "primary up":
		w.primary.Release()
		w.primary.Plug()
	case "primary hangs":
		w.primary.Hang()
	case "secondary down":
		w.secondary.Unplug()
	case "secondary up":
		w.secondary.Release()
		w.secondary.Plug()
	case "secondary hangs":
		w.secondary.Hang()
	case "reconcile":
		_, _ = w.m.Reconcile(ctx)
	case "restart":
		return w.restart()
	case "crash": // somewhere in the next change, or after it
		w.fuse.set(s.n)
		w.dead = true
		return nil
	}
	w.learn()
	if err == nil && ref.KID != "" {
		w.acked[nameOf(ref)] = true
	}
	if w.dead {
		w.dead = false
		w.fuse.set(0) // nothing more gets out of this process
		err := w.m.Close()
		w.primary.Plug()
		w.secondary.Plug()
		return errors.Join(err, w.start())
	}
	return nil
}

// forget removes a version from the primary behind the mirror's back, unless its number would be given out again.
func (w *world) forget(v Version) {
	held, later := false, false
	for _, ref := range w.primary.Held() {
		held = held || nameOf(ref) == v
		later = later || ref.KID == v.KID && ref.Version > v.Version
	}
	if held && later {
		w.primary.Forget(v.KID, v.Version)
		w.forgotten[v] = true
	}
}

// learn notes what the primary holds.
func (w *world) learn() {
	for _, ref := range w.primary.Held() {
		if ref.KID != ManifestKID {
			w.keys[nameOf(ref)] = ref.Fingerprint
		}
	}
}

// check requires that what is served is right, and no more than the truth.
func (w *world) check(ctx context.Context) error {
	if w.dead {
		return nil // reads would take steps of the fuse
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	right := func(v Version, thumbprint string) error {
		switch {
		case w.destroyed[v]:
			return fmt.Errorf("%s was destroyed, and is served", v)
		case w.keys[v] != thumbprint:
			return fmt.Errorf("%s is served as %s: want %q", v, thumbprint, w.keys[v])
		}
		return nil
	}
	set, err := w.m.JWKS(ctx, "")
	if errors.Is(err, provider.ErrTampered) {
		return err
	}
	for _, k := range set.Keys() {
		if err := right(nameOf(k.Ref()), k.Thumbprint()); err != nil {
			return err
		}
	}
	for v := range w.keys {
		for _, version := range []int{v.Version, 0} {
			if ref, err := w.m.GetKey(ctx, v.KID, version); err == nil {
				if err := right(nameOf(ref), ref.Fingerprint); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// settle brings everything up again, reconciles, and requires that nothing is lost and nothing differs.
func (w *world) settle(ctx context.Context) error {
	for _, f := range []*providertest.Fake{w.primary, w.secondary} {
		f.Release()
		f.Plug()
	}
	if w.dead {
		w.dead = false
		w.fuse.set(-1)
	}
	time.Sleep(20 * time.Minute)
	if _, err := w.m.Reconcile(ctx); err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	r, err := w.m.Reconcile(ctx)
	if err != nil {
		return fmt.Errorf("reconcile again: %w", err)
	}
	if len(r.Copied)+len(r.Finished)+len(r.Unmirrored)+len(r.Conflicts)+len(r.Problems) > 0 || r.Unsigned != nil {
		return fmt.Errorf("drift after a pass: %+v", r)
	}
	if s := w.m.Status(); len(s.Pending)+len(s.Manifest.Unsigned) > 0 || s.State != nil {
		return fmt.Errorf("left over: %+v", s)
	}
	if err := w.check(ctx); err != nil {
		return err
	}
	for v := range w.acked {
		if w.destroyed[v] || w.forgotten[v] || w.gone(v) {
			continue
		}
		for name, f := range map[string]*providertest.Fake{"primary": w.primary, "secondary": w.secondary} {
			if _, err := f.GetKey(ctx, v.KID, v.Version); err != nil {
				return fmt.Errorf("%s was acknowledged, and the %s says: %w", v, name, err)
			}
		}
	}
	return nil
}

// gone tells whether a destroy of v was asked for, without an answer, and came true.
func (w *world) gone(v Version) bool { return w.m.state.current().destroyed(v.KID, v.Version) }

// foreign is a key made elsewhere.
var foreign = func() provider.KeyMaterial {
	f := providertest.NewFake(nil)
	ctx := context.Background()
	if _, err := f.CreateKey(ctx, provider.KeySpec{KID: "k", Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed}); err != nil {
		panic(err)
	}
	private, err := f.ExportKey(ctx, "k", 1)
	if err != nil {
		panic(err)
	}
	return provider.KeyMaterial{Private: private}
}()
