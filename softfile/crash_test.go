//go:build unix

package softfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// state opens the store on a disk, and returns all that it holds as text, and with which passphrase. It checks that
// nothing is left lying about.
func (d disk) state(t *testing.T) string {
	t.Helper()
	dir := d.write(t)
	var text strings.Builder
	s, word := reopened(t, dir, nil)
	defer s.Close()
	fmt.Fprintln(&text, word)
	entries, problems, _ := s.index.all(func(string) bool { return true })
	require.Empty(t, problems)
	for _, e := range entries {
		require.Empty(t, e.problems)
		if e.highest == 0 {
			continue // a directory without a record is no key
		}
		fmt.Fprintln(&text, e.kid, "up to", e.highest)
		for _, v := range e.versions {
			r := *v.rec
			if r.Private != "" {
				key, err := s.vault.open(v)
				require.NoError(t, err)
				key.Symmetric.Wipe()
				r.Private = "opens"
			}
			b, err := r.encode()
			require.NoError(t, err)
			text.Write(b)
		}
		for _, stone := range e.tombstones {
			fmt.Fprintln(&text, "destroyed", stone.Version)
			require.NoFileExists(t, filepath.Join(dir, recordPath(e.kid, stone.Version)))
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	return text.String()
}

// reopened opens a store with whichever passphrase it has, and returns that.
func reopened(t *testing.T, dir string, hook fileops.Hook) (s *Store, word string) {
	t.Helper()
	for _, word := range []string{"open sesame", "shut sesame"} {
		s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase(word)}, hook, quickly)
		if err == nil {
			return s, word
		}
		require.ErrorIs(t, err, provider.ErrAuth)
	}
	require.Fail(t, "no passphrase opens the store")
	return nil, ""
}

func TestACrashLeavesTheOldStateOrTheNewOne(t *testing.T) {
	create := func(s *Store, kid string, alg provider.KeyAlg) error {
		_, err := s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg})
		return err
	}
	rotate := func(s *Store) error {
		_, err := s.RotateKey(t.Context(), "old", provider.Rotation{Windows: &provider.Windows{}})
		return err
	}
	destroy := func(version int) func(s *Store) error {
		return func(s *Store) error {
			_, err := s.DestroyKey(t.Context(), "old", version)
			return err
		}
	}
	put := func(label string) func(s *Store) error {
		return func(s *Store) error {
			_, err := s.PutVersion(t.Context(), provider.KeyRef{KID: "copy", Version: 5, Alg: provider.Ed25519, Bits: 256, Label: label,
				Fingerprint: fingerprintOfZeros}, ed25519Public(t))
			return err
		}
	}
	tests := []struct {
		name   string
		before []func(*Store) error
		change func(*Store) error
	}{
		{"create the first key", nil, func(s *Store) error { return create(s, "first", provider.AES256GCM) }},
		{"create another key", []func(*Store) error{rotate}, func(s *Store) error { return create(s, "another", provider.ECDSAP256SHA256) }},
		{"import a public key", []func(*Store) error{rotate}, func(s *Store) error {
			_, err := s.ImportKey(t.Context(), provider.KeySpec{KID: "public", Alg: provider.Ed25519}, ed25519Public(t))
			return err
		}},
		{"rotate", []func(*Store) error{rotate}, rotate},
		{"destroy the only version", []func(*Store) error{}, destroy(1)},
		{"destroy one of three versions", []func(*Store) error{rotate, rotate}, destroy(2)},
		{"destroy another one", []func(*Store) error{rotate, rotate, destroy(2)}, destroy(3)},
		{"destroy all of three versions", []func(*Store) error{rotate, rotate}, destroy(provider.AllVersions)},
		{"create again after all were destroyed", []func(*Store) error{destroy(1)}, func(s *Store) error { return create(s, "old", provider.Ed25519) }},
		{"store a copy", []func(*Store) error{rotate}, put("first")},
		{"change a copy", []func(*Store) error{put("first")}, put("second")},
		{"change the passphrase", []func(*Store) error{rotate}, func(s *Store) error {
			return s.ChangePassphrase(t.Context(), passphrase("shut sesame"))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			r := recorder{kill: -1}
			s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, r.hook, quickly)
			require.NoError(t, err)
			defer s.Close()
			if tt.before != nil {
				require.NoError(t, create(s, "old", provider.Ed25519))
			}
			for _, do := range tt.before {
				require.NoError(t, do(s))
			}
			before := readDisk(t, dir)
			r.ops = nil
			require.NoError(t, tt.change(s))
			walkCrashes(t, before, r.ops, readDisk(t, dir).state(t))
		})
	}
}

func TestACrashWhileAStoreIsOpenedTheFirstTime(t *testing.T) {
	dir := t.TempDir()
	r := recorder{kill: -1}
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, r.hook, quickly)
	require.NoError(t, err)
	defer s.Close()
	walkCrashes(t, disk{}, r.ops, readDisk(t, dir).state(t))
}

// walkCrashes crashes behind each of ops.
func walkCrashes(t *testing.T, before disk, ops []fileops.Op, done string) {
	t.Helper()
	require.NotEmpty(t, ops)
	old := before.state(t)
	for n := range len(ops) + 1 {
		crashes(t, before, ops[:n], func(got disk, loss string) {
			if state := got.state(t); n == len(ops) || state != old {
				require.Equal(t, done, state, "after %d of %d operations; lost: %s", n, len(ops), loss)
			}
		})
	}
}

// What a store acknowledges stays, also if it stands on what another one had made that was killed before it could sync it.
func TestACrashAfterAWriterWasKilled(t *testing.T) {
	create := func(s *Store) error {
		return second(s.CreateKey(t.Context(), provider.KeySpec{KID: "old", Alg: provider.Ed25519}))
	}
	rotate := func(s *Store) error {
		return second(s.RotateKey(t.Context(), "old", provider.Rotation{Windows: &provider.Windows{}}))
	}
	destroy := func(s *Store) error { return second(s.DestroyKey(t.Context(), "old", 1)) }
	put := func(version int, label string) func(s *Store) error {
		return func(s *Store) error {
			return second(s.PutVersion(t.Context(), provider.KeyRef{KID: "copy", Version: version, Alg: provider.Ed25519, Bits: 256,
				Label: label, Fingerprint: fingerprintOfZeros}, ed25519Public(t)))
		}
	}
	elsewhere := opened(t, t.TempDir())
	require.NoError(t, put(2, "")(elsewhere))
	require.NoError(t, second(elsewhere.DestroyKey(t.Context(), "copy", 2)))
	set, _, err := elsewhere.ExportPublic(t.Context())
	require.NoError(t, err)
	take := func(s *Store) error {
		report, err := s.ImportSet(t.Context(), set, nil)
		for _, left := range report.Left {
			err = errors.Join(err, left.Reason)
		}
		return err
	}
	tests := []struct {
		name   string
		before []func(*Store) error // nil: there is no store yet
		killed func(*Store) error
		after  func(*Store) error
		also   error // what after may return if the killed one had come far enough
	}{
		{"the first opening, and a first key", nil, func(*Store) error { return nil }, create, nil},
		{"a first key, and a rotation", nil, create, func(s *Store) error {
			if err := create(s); err != nil {
				return rotate(s)
			}
			return nil
		}, nil},
		{"another key, and a rotation", []func(*Store) error{put(1, "")}, create, func(s *Store) error {
			if err := create(s); err != nil {
				return rotate(s)
			}
			return nil
		}, nil},
		{"two rotations", []func(*Store) error{create}, rotate, rotate, nil},
		{"a copy, and the same copy", []func(*Store) error{create}, put(1, ""), put(1, ""), nil},
		{"a further copy, and the same", []func(*Store) error{put(1, "")}, put(2, ""), put(2, ""), nil},
		{"a copy changed twice in the same way", []func(*Store) error{put(1, "")}, put(1, "new"), put(1, "new"), nil},
		{"the same tombstone twice", []func(*Store) error{put(1, "")}, take, take, nil},
		{"the same destroyed twice", []func(*Store) error{create, rotate}, destroy, destroy, provider.ErrNotFound},
		{"a new passphrase, and a rotation", []func(*Store) error{create}, func(s *Store) error {
			return s.ChangePassphrase(t.Context(), passphrase("shut sesame"))
		}, rotate, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for n := 0; ; n++ {
				dir := t.TempDir()
				if tt.before != nil {
					s := opened(t, dir)
					for _, do := range tt.before {
						require.NoError(t, do(s))
					}
				}
				before := readDisk(t, dir)
				r := recorder{kill: n}
				if s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, r.hook, quickly); err == nil {
					_ = tt.killed(s)
					require.NoError(t, s.Close())
				}
				alive := !r.killed
				r.kill, r.killed = -1, false
				s, _ := reopened(t, dir, r.hook)
				if err := tt.after(s); tt.also == nil || err != nil && !errors.Is(err, tt.also) {
					require.NoError(t, err, "killed after %d operations", n)
				}
				require.NoError(t, s.Close())
				done := readDisk(t, dir).state(t)
				crashes(t, before, r.ops, func(got disk, loss string) {
					require.Equal(t, done, got.state(t), "killed after %d operations; lost: %s", n, loss)
				})
				if alive {
					return // it came to its end
				}
			}
		})
	}
}
