//go:build unix

package softfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// age makes the directories of a store look as if nothing had happened for an hour.
func age(t *testing.T, dir string) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(dir, "keys", "*"))
	require.NoError(t, err)
	for _, d := range append(dirs, filepath.Join(dir, "keys"), dir) {
		setTime(t, d, time.Now().Add(-time.Hour))
	}
}

func setTime(t *testing.T, path string, to time.Time) {
	t.Helper()
	require.NoError(t, os.Chtimes(path, to, to))
}

func fill(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, second(s.ImportKey(t.Context(), provider.KeySpec{KID: fmt.Sprintf("k%d", i), Alg: provider.Ed25519}, ed25519Public(t))))
	}
}

func TestReadsOfAnUnchangedStoreTouchNoFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that no interval ends meanwhile
		var f faulty
		s, err := open(t.Context(), Config{Dir: t.TempDir()}, f.hook, quickly)
		require.NoError(t, err)
		defer s.Close()
		fill(t, s, 3)
		require.NoError(t, second(s.JWKS(t.Context(), "")))
		before := f.count.Load()
		for range 10 {
			require.NoError(t, second(s.GetKey(t.Context(), "k1", 0)))
			require.NoError(t, second(s.GetKey(t.Context(), "k1", 1)))
			require.NoError(t, second(s.PublicJWK(t.Context(), "k2", 0)))
			require.NoError(t, second(s.ListVersions(t.Context(), "k2")))
			require.NoError(t, second(s.ListKeys(t.Context())))
			require.NoError(t, second(s.JWKS(t.Context(), "")))
		}
		require.Equal(t, before, f.count.Load())
	})
}

func TestACheckOfAnUnchangedStoreLooksAtTwoDirectories(t *testing.T) {
	dir := t.TempDir()
	var f faulty
	s, err := open(t.Context(), Config{Dir: dir}, f.hook, quickly)
	require.NoError(t, err)
	defer s.Close()
	fill(t, s, 20)
	age(t, dir)
	count := func() int64 {
		before := f.count.Load()
		s.index.forget()
		require.NoError(t, second(s.GetKey(t.Context(), "k1", 0)))
		return f.count.Load() - before
	}
	require.Greater(t, count(), int64(20), "something changed: every key's directory is looked at")
	require.EqualValues(t, 3, count(), "nothing changed: open, and two looks")

	other := openedWith(t, Config{Dir: dir})
	require.NoError(t, second(other.DestroyKey(t.Context(), "k1", 1)))
	s.index.forget()
	require.ErrorIs(t, second(s.GetKey(t.Context(), "k1", 0)), provider.ErrNotFound)
}

func TestAnEmptyStoreThatStaysSoIsUnchanged(t *testing.T) {
	dir, err := fileops.Open(t.TempDir(), nil)
	require.NoError(t, err)
	defer dir.Close()
	empty, err := look(dir, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.True(t, empty.unchanged(empty))
	filled := empty
	filled.keys = empty.top
	require.False(t, empty.unchanged(filled))
	require.False(t, filled.unchanged(empty))
}

// Two changes within one step of the file system's clock leave the same time. Directories that changed a moment ago are
// read again, whatever their time says.
func TestAChangeThatLeavesNoTraceInTheTime(t *testing.T) {
	dir := t.TempDir()
	s, other := openedWith(t, Config{Dir: dir}), openedWith(t, Config{Dir: dir})
	fill(t, s, 2)
	moment := time.Now().Add(time.Minute) // so that it is young for as long as the test runs
	freeze := func() {
		for _, d := range []string{"", "keys", "keys/k0", "keys/k1"} {
			setTime(t, filepath.Join(dir, d), moment)
		}
	}
	freeze()
	s.index.forget()
	require.NoError(t, second(s.GetKey(t.Context(), "k0", 0)))
	require.NoError(t, second(other.DestroyKey(t.Context(), "k0", 1)))
	freeze()
	s.index.forget()
	require.ErrorIs(t, second(s.GetKey(t.Context(), "k0", 0)), provider.ErrNotFound)
}

func TestAKnownSetHoldsUntilSomethingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, t.TempDir())
		require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
		set := func(prefix string) []string {
			got, err := s.JWKS(t.Context(), prefix)
			require.NoError(t, err)
			require.Equal(t, provider.FromPrimary(time.Now()), got.Provenance)
			for _, k := range got.Keys() {
				ref, err := s.GetKey(t.Context(), "k", k.Ref().Version)
				require.NoError(t, err)
				require.Equal(t, ref.State, k.Ref().State)
			}
			return jwkNames(got)
		}
		require.Equal(t, []string{"k.1"}, set(""))
		// The steps are shorter than the interval, so that it is the schedule that brings the change, and no look at the files.
		w := &provider.Windows{PublishBefore: checkInterval * 3 / 10, RetireAfter: checkInterval * 3 / 10}
		require.NoError(t, second(s.RotateKey(t.Context(), "k", provider.Rotation{Windows: w})))
		require.Equal(t, []string{"k.1", "k.2"}, set(""))
		time.Sleep(checkInterval * 4 / 10)
		require.Equal(t, []string{"k.1", "k.2"}, set(""), "with other states, which the helper compares")
		time.Sleep(checkInterval * 4 / 10)
		require.Equal(t, []string{"k.2"}, set(""))
		require.Empty(t, set("other"))
		require.Equal(t, []string{"k.2"}, set("k"))
		require.NoError(t, second(s.DestroyKey(t.Context(), "k", 2)))
		require.Empty(t, set(""), "version 1 stays retired although what retired it is gone")
	})
}

func TestASetHoldsUntilTheFirstOfAllKeysChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, t.TempDir())
		for kid, after := range map[string]time.Duration{"a": time.Hour, "b": checkInterval / 2, "c": time.Hour} {
			require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.Ed25519})))
			require.NoError(t, second(s.RotateKey(t.Context(), kid, provider.Rotation{Windows: &provider.Windows{PublishBefore: after}})))
		}
		set, err := s.JWKS(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"a.1", "a.2", "b.1", "b.2", "c.1", "c.2"}, jwkNames(set))
		time.Sleep(checkInterval / 2)
		set, err = s.JWKS(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"a.1", "a.2", "b.2", "c.1", "c.2"}, jwkNames(set))
	})
}

func TestASetIsKnownForItsTimeAndItsEntries(t *testing.T) {
	now := time.Now()
	for at, want := range map[time.Duration]bool{-1: false, 0: true, 59: true, 60: false} {
		require.Equal(t, want, cachedSet{from: now, until: now.Add(60)}.holds(now.Add(at)), at)
	}
	require.True(t, cachedSet{from: now}.holds(now.Add(1<<62)), "no schedule brings a change")

	var x index
	x.keep("", cachedSet{from: now}, x.generation+1)
	_, kept := x.cached("")
	require.False(t, kept, "an entry changed while it was made")
	x.keep("", cachedSet{from: now}, x.generation)
	_, kept = x.cached("")
	require.True(t, kept)
}

// Readers do not wait for the one that looks at the directory, unless what they know is old.
func TestReadersWaitForNoOneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openedWith(t, Config{Dir: t.TempDir()})
		fill(t, s, 1)
		require.NoError(t, s.Health(t.Context()))
		require.NoError(t, s.index.loading.lock(t.Context()))
		time.Sleep(checkInterval * 3 / 2)
		require.NoError(t, second(s.GetKey(t.Context(), "k0", 0)))
		time.Sleep(checkInterval)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, second(s.GetKey(ctx, "k0", 0)), context.DeadlineExceeded)
		require.ErrorIs(t, s.Health(ctx), context.DeadlineExceeded)
		s.index.loading.unlock()
		require.NoError(t, second(s.GetKey(t.Context(), "k0", 0)))
	})
}

// Someone asks for more prefixes than are worth keeping.
func TestKnownSetsAreFew(t *testing.T) {
	s := openedWith(t, Config{Dir: t.TempDir()})
	for i := range 10 * maxSets {
		require.NoError(t, second(s.JWKS(t.Context(), fmt.Sprint(i))))
	}
	require.LessOrEqual(t, len(s.index.sets), maxSets)
}

// The original's defect L11: "dictionary changed size during iteration".
func TestReadersAndWritersAtOnce(t *testing.T) {
	s := opened(t, t.TempDir())
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	signer, err := s.Signer(t.Context(), "k", 0)
	require.NoError(t, err)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s.index.forget()
				_, jwksErr := s.JWKS(t.Context(), "")
				_, listErr := s.ListKeys(t.Context())
				_, getErr := s.GetKey(t.Context(), "k", 1)
				_, signErr := signer.Sign(nil, []byte("m"), nil)
				for _, err := range []error{jwksErr, listErr, getErr, signErr} {
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for range 5 {
				_, rotateErr := s.RotateKey(t.Context(), "k", provider.Rotation{})
				ref, createErr := s.CreateKey(t.Context(), provider.KeySpec{KID: fmt.Sprintf("w%d", w), Alg: provider.Ed25519})
				_, destroyErr := s.DestroyKey(t.Context(), ref.KID, ref.Version)
				for _, err := range []error{rotateErr, createErr, destroyErr} {
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	list, err := s.ListVersions(t.Context(), "k")
	require.NoError(t, err)
	require.Len(t, list.Keys, 16)
}
