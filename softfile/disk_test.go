//go:build unix

package softfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// faulty fails one operation, or every operation of some kinds.
type faulty struct {
	countdown atomic.Int64 // the operation that fails, from 1 on; 0: none
	every     func(fileops.Op) bool
	errno     syscall.Errno
	failed    atomic.Bool
	count     atomic.Int64
}

func (f *faulty) hook(op fileops.Op) error {
	f.count.Add(1)
	if f.countdown.Add(-1) == 0 || f.every != nil && f.every(op) {
		f.failed.Store(true)
		return f.errno
	}
	return nil
}

// Every operation of every write fails once: in the middle of it, before, or after it is done. The original's defect F07:
// a destroy without the right to delete reported success.
func TestADiskThatFails(t *testing.T) {
	put := func(s *Store, label string) error {
		_, err := s.PutVersion(t.Context(), provider.KeyRef{KID: "copy", Version: 5, Alg: provider.Ed25519, Bits: 256, Label: label,
			Fingerprint: fingerprintOfZeros}, ed25519Public(t))
		return err
	}
	holds := func(kid string, version int) func(dir string) bool {
		return func(dir string) bool {
			return second(openedWith(t, Config{Dir: dir}).GetKey(t.Context(), kid, version)) == nil
		}
	}
	tests := []struct {
		name   string
		change func(*Store) error
		again  error // what doing it twice returns
		done   func(dir string) bool
	}{
		{"create", func(s *Store) error {
			_, err := s.CreateKey(t.Context(), provider.KeySpec{KID: "new", Alg: provider.Ed25519})
			return err
		}, provider.ErrExists, holds("new", 1)},
		{"rotate", func(s *Store) error { return second(s.RotateKey(t.Context(), "old", provider.Rotation{})) }, nil, holds("old", 3)},
		{"destroy one version", func(s *Store) error { return second(s.DestroyKey(t.Context(), "old", 1)) }, provider.ErrNotFound,
			func(dir string) bool { return !holds("old", 1)(dir) && holds("old", 2)(dir) }},
		{"destroy all versions", func(s *Store) error { return second(s.DestroyKey(t.Context(), "old", provider.AllVersions)) }, provider.ErrNotFound,
			func(dir string) bool { return !holds("old", 0)(dir) }},
		{"change a copy", func(s *Store) error { return put(s, "second") }, nil,
			func(dir string) bool { return strings.Contains(read(t, dir, "keys/copy/5.json"), `"second"`) }},
		{"change the passphrase", func(s *Store) error { return s.ChangePassphrase(t.Context(), passphrase("shut sesame")) }, nil,
			func(dir string) bool {
				return second(open(t.Context(), Config{Dir: dir, Passphrase: passphrase("shut sesame")}, nil, quickly)) == nil
			}},
	}
	errnos := []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EACCES}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for n := int64(1); ; n++ {
				f := &faulty{errno: errnos[n%4]}
				dir := t.TempDir()
				s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, f.hook, quickly)
				require.NoError(t, err)
				require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "old", Alg: provider.Ed25519})))
				require.NoError(t, second(s.RotateKey(t.Context(), "old", provider.Rotation{})))
				require.NoError(t, put(s, "first"))
				f.countdown.Store(n)
				err = tt.change(s)
				f.countdown.Store(0)
				if err != nil {
					require.ErrorIs(t, err, provider.ErrUnavailable)
					require.ErrorIs(t, err, f.errno)
					require.ErrorContains(t, err, dir)
					if err := tt.change(s); err != nil {
						require.ErrorIs(t, err, tt.again, "the next attempt works, or finds that the last one did")
					}
				}
				require.True(t, tt.done(dir), "operation %d", n)
				readDisk(t, dir).state(t) // all that is there is good
				_, err = s.GetKey(t.Context(), "copy", 5)
				require.NoError(t, err)
				require.NoError(t, s.Close())
				if !f.failed.Load() {
					return // every operation had its turn
				}
			}
		})
	}
}

func TestADirectoryThatCannotBeRead(t *testing.T) {
	f := &faulty{errno: syscall.EIO}
	dir := t.TempDir()
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, f.hook, quickly)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	answers := func() map[string]error {
		s.index.forget()
		return map[string]error{
			"GetKey":       second(s.GetKey(t.Context(), "k", 0)),
			"ListKeys":     second(s.ListKeys(t.Context())),
			"ListVersions": second(s.ListVersions(t.Context(), "k")),
			"PublicJWK":    second(s.PublicJWK(t.Context(), "k", 0)),
			"JWKS":         second(s.JWKS(t.Context(), "")),
			"Signer":       second(s.Signer(t.Context(), "k", 0)),
			"Health":       s.Health(t.Context()),
			"CreateKey":    second(s.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519})),
			"DestroyKey":   second(s.DestroyKey(t.Context(), "nobody", 1)),
		}
	}
	f.every = func(op fileops.Op) bool { return op.Kind == fileops.OpOpen && op.Name == "." }
	for name, err := range answers() {
		require.ErrorIs(t, err, provider.ErrUnavailable, name)
		require.NotErrorIs(t, err, provider.ErrNotFound, name)
		require.ErrorIs(t, err, syscall.EIO, name)
	}
	f.every = nil
	for name, err := range answers() {
		if name == "DestroyKey" {
			require.ErrorIs(t, err, provider.ErrNotFound)
			continue
		}
		require.NoError(t, err, name+": it goes on by itself")
	}
	f.every = func(op fileops.Op) bool { return op.Kind == fileops.OpRead && op.Name == "keys/k/1.json" }
	_, err = open(t.Context(), Config{Dir: dir}, f.hook, quickly)
	require.NoError(t, err, "one file is no reason to answer nothing")
}

// forget makes the next read look at the directory.
func (x *index) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.checked = time.Time{}
}

// A record that the disk does not give now may be good: what it says is not known, which is another answer than that it
// says something wrong.
func TestARecordThatCannotBeRead(t *testing.T) {
	f := &faulty{errno: syscall.EIO}
	dir := t.TempDir()
	require.NoError(t, second(opened(t, dir).CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	require.NoError(t, second(opened(t, dir).RotateKey(t.Context(), "k", provider.Rotation{})))
	f.every = func(op fileops.Op) bool { return op.Kind == fileops.OpRead && op.Name == "keys/k/2.json" }
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, f.hook, quickly)
	require.NoError(t, err)
	defer s.Close()
	for name, err := range map[string]error{
		"GetKey":    second(s.GetKey(t.Context(), "k", 2)),
		"latest":    second(s.GetKey(t.Context(), "k", 0)),
		"RotateKey": second(s.RotateKey(t.Context(), "k", provider.Rotation{})),
		"destroy":   second(s.DestroyKey(t.Context(), "k", provider.AllVersions)),
	} {
		require.ErrorIs(t, err, provider.ErrUnavailable, name)
		require.NotErrorIs(t, err, provider.ErrTampered, name)
		require.ErrorContains(t, err, filepath.Join(dir, "keys/k/2.json"), name)
	}
	require.NoError(t, second(s.GetKey(t.Context(), "k", 1)))
	f.every = nil
	require.NoError(t, second(s.GetKey(t.Context(), "k", 2)))
	require.NoError(t, second(s.GetKey(t.Context(), "k", 0)))
}

// A destroy that could not remove the record keeps the version out of use, and the next attempt removes it.
func TestADestroyThatCannotRemoveTheRecord(t *testing.T) {
	f := &faulty{errno: syscall.EIO}
	dir := t.TempDir()
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, f.hook, quickly)
	require.NoError(t, err)
	defer s.Close()
	for range 2 {
		require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
		number := s.index.entry("k").highest
		path := filepath.Join(dir, recordPath("k", number))
		f.every = func(op fileops.Op) bool { return op.Kind == fileops.OpRemove && op.Name == recordPath("k", number) }
		d, err := s.DestroyKey(t.Context(), "k", number)
		require.ErrorIs(t, err, provider.ErrUnavailable)
		require.Empty(t, d.Versions)
		require.FileExists(t, path)
		require.ErrorIs(t, second(s.GetKey(t.Context(), "k", number)), provider.ErrNotFound)
		f.every = nil
		d, err = s.DestroyKey(t.Context(), "k", provider.AllVersions)
		require.NoError(t, err)
		require.Equal(t, []int{number}, d.Versions)
		require.NoFileExists(t, path)
	}
}

// A file system that was unmounted leaves an empty directory behind.
func TestAStoreWhoseFilesAreGoneIsNotEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := opened(t, dir)
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	away := dir + ".away"
	for _, gone := range []func() error{
		func() error { return nil },
		func() error { return os.Mkdir(dir, 0o700) },
	} {
		require.NoError(t, os.Rename(dir, away))
		require.NoError(t, gone())
		s.index.forget()
		require.ErrorIs(t, second(s.GetKey(t.Context(), "k", 0)), provider.ErrUnavailable)
		require.ErrorIs(t, second(s.GetKey(t.Context(), "other", 0)), provider.ErrUnavailable)
		require.ErrorIs(t, second(s.JWKS(t.Context(), "")), provider.ErrUnavailable)
		require.ErrorIs(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})), provider.ErrUnavailable)
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Rename(away, dir))
		require.NoError(t, second(s.GetKey(t.Context(), "k", 0)), "it goes on by itself")
	}
}

func TestADirectoryThatCannotBeOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "x"), "no parent": filepath.Join(t.TempDir(), "a", "b")} {
		_, err := Open(t.Context(), Config{Dir: dir})
		require.ErrorIs(t, err, provider.ErrUnavailable, name)
		require.ErrorContains(t, err, filepath.Dir(dir), name)
	}
	_, err := Open(t.Context(), Config{})
	require.ErrorIs(t, err, provider.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := filepath.Join(t.TempDir(), "new")
	_, err = Open(ctx, Config{Dir: dir})
	require.True(t, errors.Is(err, context.Canceled))
	require.NoDirExists(t, dir)
}
