package mirror

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

func TestStateOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(tempDir(t), "state")
		s, err := openState(dir, nil, &reader{}, nil)
		require.NoError(t, err)
		now := time.Now().UTC()
		ref := provider.KeyRef{
			KID: "k", Version: 3, Alg: provider.Ed25519, Bits: 256, Uses: []provider.KeyUse{provider.UseSign}, Label: "l", Tags: map[string]string{"a": "b"},
			Export: provider.ExportNone, Created: now, ActiveFrom: now.Add(time.Minute), RetireAfter: 90 * time.Minute,
			Fingerprint: strings.Repeat("A", 43),
		}
		require.NoError(t, s.update(t.Context(), func(l *ledger) {
			l.vouch(testimony{ref: ref, when: now, copy: carried, at: &Version{"other", 1}})
			l.set(Version{"gone", 1}, entry{Destroyed: now, CopyLeft: true})
			l.set(Version{"going", 1}, entry{Intent: &intent{Owner: "x", Unsure: true}})
		}))
		again, err := openState(dir, nil, &reader{}, nil)
		require.NoError(t, err)
		for v, e := range s.current().all() {
			e.heard = false
			read, _ := again.current().get(v)
			require.Equal(t, e, read)
		}
		require.Equal(t, map[Version]Version{{"other", 1}: {"k", 3}}, again.current().copies)
		require.NoError(t, s.close())
		require.NoError(t, again.close())

		for name, want := range map[string]os.FileMode{".": 0o700, stateName: 0o600, "state.lock": 0o600} {
			info, err := os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, want, info.Mode().Perm(), name)
		}
	})
}

func TestDamagedState(t *testing.T) {
	dir := tempDir(t)
	s, err := openState(dir, nil, &reader{}, nil)
	require.NoError(t, err)
	require.NoError(t, s.update(t.Context(), func(l *ledger) { l.set(Version{"k", 1}, entry{Destroyed: time.Now().UTC(), CopyLeft: true}) }))
	require.NoError(t, s.close())
	path := filepath.Join(dir, stateName)
	good, err := os.ReadFile(path)
	require.NoError(t, err)

	tests := []struct {
		name   string
		damage func(good string) string
		want   error
	}{
		{"empty", func(string) string { return "" }, provider.ErrTampered},
		{"truncated", func(g string) string { return g[:len(g)/2] }, provider.ErrTampered},
		{"zeros, as after a power cut on some file systems", func(g string) string { return strings.Repeat("\x00", len(g)) }, provider.ErrTampered},
		{"an unknown member", func(g string) string { return strings.Replace(g, `{`, `{"more":1,`, 1) }, provider.ErrTampered},
		{"a member twice", func(g string) string {
			return strings.Replace(g, `"copy_left":true`, `"copy_left":false,"copy_left":true`, 1)
		}, provider.ErrTampered},
		{"a member in other letters", func(g string) string { return strings.Replace(g, `"copy_left"`, `"Copy_Left"`, 1) }, provider.ErrTampered},
		{"no keys", func(string) string { return `{"format":2,"generation":0}` + "\n" }, provider.ErrTampered},
		{"a kid with a slash", func(g string) string { return strings.Replace(g, `"k"`, `"../k"`, 1) }, provider.ErrTampered},
		{"version 0", func(g string) string { return strings.Replace(g, `"1":`, `"0":`, 1) }, provider.ErrTampered},
		{"a thumbprint that is none", func(g string) string { return strings.Replace(g, `"1":{`, `"1":{"fingerprint":"abc",`, 1) }, provider.ErrTampered},
		{"a copy left of a living version", func(string) string { return `{"format":2,"generation":0,"keys":{"k":{"1":{"copy_left":true}}}}` + "\n" }, provider.ErrTampered},
		{"a later format", func(g string) string { return strings.Replace(g, `"format":2`, `"format":3,"new":{}`, 1) }, provider.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := tt.damage(string(good))
			require.NotEqual(t, string(good), bad)
			require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
			requireRefused(t, dir, tt.want)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, bad, string(after), "a damaged state is left for people to look at")
		})
	}
	for name, put := range map[string]func() error{
		"directory": func() error { return os.Mkdir(path, 0o700) },
		"symlink":   func() error { return os.Symlink("/etc/passwd", path) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, put())
			requireRefused(t, dir, provider.ErrTampered)
		})
	}
}

// requireRefused requires that a Mirror on dir serves its primary, and nothing from its secondary.
func requireRefused(t *testing.T, dir string, want error) {
	t.Helper()
	r := newRig(t, Config{ManifestDir: dir})
	_, err := r.primary.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	_, err = r.secondary.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	require.NotEmpty(t, r.x("k", 1))
	require.ErrorIs(t, r.Status().State, want)
	_, err = r.DestroyKey(t.Context(), "k", 1)
	require.ErrorIs(t, err, want)
	r.primary.Unplug()
	_, err = r.GetKey(t.Context(), "k", 1)
	require.ErrorIs(t, err, want)
	_, err = r.JWKS(t.Context(), "")
	require.ErrorIs(t, err, want)
}

func TestManifestDirectoryThatOthersCanWrite(t *testing.T) {
	dir := filepath.Join(tempDir(t), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chmod(dir, 0o770))
	_, err := openState(dir, nil, &reader{}, nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = openState(filepath.Join(dir, "no", "parent"), nil, &reader{}, nil)
	require.ErrorIs(t, err, provider.ErrUnavailable)
}

// A state that is damaged while it is in use: nothing is served from the secondary, and nothing is destroyed.
func TestStateDamagedInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "k"})
		synctest.Wait()
		path := filepath.Join(r.cfg.ManifestDir, manifestName)
		good, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, []byte("e30.e30."), 0o600))
		time.Sleep(lookEvery)
		require.NotEmpty(t, r.x("k", 1), "the primary answers")
		_, err = r.DestroyKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrTampered)
		ref, err := r.CreateKey(t.Context(), provider.KeySpec{KID: "other", Alg: provider.Ed25519})
		require.NoError(t, err)
		require.Contains(t, ref.Mirroring.Reason, "state")
		require.ErrorIs(t, r.Status().State, provider.ErrTampered)
		r.primary.Unplug()
		_, err = r.PublicJWK(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrTampered)
		_, err = r.JWKS(t.Context(), "")
		require.ErrorIs(t, err, provider.ErrTampered)

		require.NoError(t, os.WriteFile(path, good, 0o600))
		time.Sleep(lookEvery)
		require.NotEmpty(t, r.x("k", 1))
		require.NotEmpty(t, r.x("other", 1))
		require.Contains(t, r.state.current().keys, "other", "what could not be written is not forgotten")
	})
}

func TestStateFileThatIsRemovedIsWrittenAnew(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	_, err := r.DestroyKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(r.cfg.ManifestDir, manifestName)))
	r.create(provider.KeySpec{KID: "other"})
	r = r.restart()
	requireGone(t, r.Mirror, "k", 1)
	require.Equal(t, 1, r.Status().Tombstones)
}

// Two processes on one state lose none of each other's changes, and each sees what the other destroyed.
func TestTwoMirrorsShareAState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newRig(t, Config{})
		b := startRig(t, &rig{t: t, cfg: Config{ManifestDir: a.cfg.ManifestDir}, primary: a.primary.Reopen(), secondary: a.secondary.Reopen()})
		done := make(chan struct{})
		for _, r := range []*rig{a, b} {
			go func() {
				defer func() { done <- struct{}{} }()
				for range 10 {
					ref, err := r.CreateKey(context.Background(), provider.KeySpec{Alg: provider.Ed25519})
					if err == nil && !ref.Mirroring.Mirrored {
						t.Error(ref.Mirroring.Reason)
					}
				}
			}()
		}
		<-done
		<-done
		time.Sleep(lookEvery)
		for _, r := range []*rig{a, b} {
			_, err := r.ListKeys(t.Context())
			require.NoError(t, err)
			require.Len(t, r.state.current().keys, 20)
		}

		ref := a.create(provider.KeySpec{KID: "k"})
		b.secondary.Refuse(provider.ErrUnavailable, "DestroyKey")
		d, err := a.DestroyKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.False(t, d.Mirroring.Mirrored)
		a.primary.Unplug()
		time.Sleep(lookEvery)
		_, err = b.PublicJWK(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrNotFound)
		require.Contains(t, b.copies(), ref.JWKKID(), "though its copy is still there")
	})
}

// A full disk: a destroy whose intent can't be noted is not begun; one that can't be noted as done stays done here.
func TestStateThatCannotBeWritten(t *testing.T) {
	for _, plain := range []bool{false, true} {
		testUnwritableState(t, plain)
	}
}

func testUnwritableState(t *testing.T, plain bool) {
	var full atomic.Bool
	hook := func(op fileops.Op) error {
		if full.Load() && op.Kind == fileops.OpWrite {
			return os.ErrPermission
		}
		return nil
	}
	primary, secondary := providertest.NewFake(t), providertest.NewFake(t)
	var second provider.Provider = secondary
	if plain {
		second = secondary.Plain()
	}
	m, err := newMirror(primary, second, Config{ManifestDir: tempDir(t)}, hook)
	require.NoError(t, err)
	defer m.Close()
	_, err = m.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	full.Store(true)
	_, err = m.DestroyKey(t.Context(), "k", 1)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.Zero(t, primary.Calls("DestroyKey"))
	ref, err := m.CreateKey(t.Context(), provider.KeySpec{KID: "other", Alg: provider.Ed25519})
	require.NoError(t, err)
	require.False(t, ref.Mirroring.Mirrored, "no manifest names it")
	require.Contains(t, ref.Mirroring.Reason, "not noted in the state")
	full.Store(false)
	_, err = m.DestroyKey(t.Context(), "k", 1)
	require.NoError(t, err)
}

// What was only wanted is not there if it can't be written; what happened is, and stands in the file as soon as that is possible.
func TestAChangeThatCannotBeWritten(t *testing.T) {
	var full atomic.Bool
	dir := tempDir(t)
	s, err := openState(dir, func(op fileops.Op) error {
		if full.Load() && op.Kind == fileops.OpWrite {
			return os.ErrPermission
		}
		return nil
	}, &reader{}, nil)
	require.NoError(t, err)
	destroy := func(kid string) func(*ledger) {
		return func(l *ledger) { l.set(Version{kid, 1}, entry{Destroyed: time.Unix(1, 0).UTC()}) }
	}
	full.Store(true)
	require.ErrorIs(t, s.update(t.Context(), destroy("wanted")), provider.ErrUnavailable)
	require.ErrorIs(t, s.note(t.Context(), destroy("happened")), provider.ErrUnavailable)
	require.ErrorIs(t, s.note(t.Context(), destroy("too")), provider.ErrUnavailable)
	require.False(t, s.current().destroyed("wanted", 1))
	require.True(t, s.current().destroyed("happened", 1))
	full.Store(false)
	require.NoError(t, s.update(t.Context(), destroy("later")))
	require.Empty(t, s.unsaved)
	require.NoError(t, s.close())

	again, err := openState(dir, nil, &reader{}, nil)
	require.NoError(t, err)
	for kid, want := range map[string]bool{"wanted": false, "happened": true, "too": true, "later": true} {
		require.Equal(t, want, again.current().destroyed(kid, 1), kid)
	}
	require.NoError(t, again.close())
}

// Who wants a change does not wait for it for ever; what has happened is noted, however long that takes.
func TestAChangeWhoseCallerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := openState(tempDir(t), nil, &reader{}, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.turn <- struct{}{}
		require.ErrorIs(t, s.update(ctx, func(*ledger) { panic("made") }), context.Canceled)
		noted := false
		go func() {
			_ = s.note(ctx, func(l *ledger) { l.set(Version{"k", 1}, entry{Destroyed: time.Now()}) })
			noted = true
		}()
		synctest.Wait()
		require.False(t, noted)
		<-s.turn
		synctest.Wait()
		require.True(t, noted)
		require.True(t, s.current().destroyed("k", 1))
		require.NoError(t, s.close())
	})
}

func FuzzDecodeState(f *testing.F) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := newLedger()
	l.set(Version{"k", 1}, entry{Fingerprint: strings.Repeat("A", 43), ActiveFrom: now, RetireAfter: duration(time.Hour), Confirmed: now})
	l.set(Version{"k", 2}, entry{Destroyed: now, CopyLeft: true, Copy: &Version{"c", 1}})
	data, err := l.since(nil).encode()
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"format":2,"generation":0,"keys":{}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeState(data)
		if err != nil {
			return
		}
		again, err := s.encode()
		require.NoError(t, err)
		require.Equal(t, data, again)
	})
}

// A writer replaces both files between a reader's look at one and at the other: what the reader has is old, and not damaged.
func TestFilesThatChangeBetweenTwoLooks(t *testing.T) {
	w := newRig(t, Config{})
	w.create(provider.KeySpec{KID: "k"})
	signed := w.state.signed.Load()
	ghost := &stateFile{stateFormat, signed.generation, map[string]map[int]entry{"ghost": {1: {Fingerprint: signed.key}}}} // nobody vouches for it
	data, err := ghost.encode()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(w.cfg.ManifestDir, stateName), data, 0o600))

	first, changed := "", false
	r, err := newMirror(w.primary.Reopen(), w.secondary.Reopen(), w.cfg, func(op fileops.Op) error {
		if op.Kind == fileops.OpStat && (op.Name == manifestName || op.Name == stateName) {
			if first == "" {
				first = op.Name
			} else if op.Name != first && !changed {
				changed = true
				w.create(provider.KeySpec{KID: "other"})
			}
		}
		return nil
	})
	require.NoError(t, err)
	defer r.Close()
	require.True(t, changed)
	require.NoError(t, r.state.sound())
	w.primary.Unplug()
	_, err = r.GetKey(t.Context(), "k", 1)
	require.NoError(t, err)
}
