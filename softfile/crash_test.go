package softfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// recorder notes the operations that change a directory.
type recorder struct {
	mu  sync.Mutex
	ops []fileops.Op
}

func (r *recorder) hook(op fileops.Op) error {
	switch op.Kind {
	case fileops.OpOpen, fileops.OpStat, fileops.OpList, fileops.OpRead, fileops.OpLock, fileops.OpChmod:
		return nil
	}
	op.Data = bytes.Clone(op.Data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	return nil
}

// disk is a directory as a file system keeps it: names, which lead to files.
type disk map[string]*inode

type inode struct {
	dir    bool
	data   string
	synced bool
}

// loss is what a power cut does to what was not synced.
type loss struct {
	name  string
	names bool                     // names that were not synced are as they were before
	data  func(data string) string // what is left of content that was not synced
}

var losses = []loss{
	{"nothing is lost", false, func(s string) string { return s }},
	{"content that was not synced is empty", false, func(string) string { return "" }},
	{"content that was not synced is torn", false, func(s string) string { return s[:len(s)/2] }},
	{"names that were not synced are lost", true, func(string) string { return "" }},
}

// crash returns what is on the disk after ops and a power cut. A name that was synced leads to its file also if the
// temporary name that the file had first was lost.
func crash(before disk, ops []fileops.Op, l loss) disk {
	seen, kept := maps.Clone(before), maps.Clone(before)
	for i, op := range ops {
		f := seen[op.Name]
		switch op.Kind {
		case fileops.OpMkdir:
			f = &inode{dir: true, synced: true}
		case fileops.OpCreate:
			f = &inode{}
		case fileops.OpWrite:
			f.data = string(op.Data)
		case fileops.OpSync:
			f.synced = true
		}
		rename(seen, op, f)
		if !l.names || namesSynced(ops[i+1:], op) {
			rename(kept, op, f)
		}
	}
	for name, f := range kept {
		if !f.synced {
			kept[name] = &inode{data: l.data(f.data), synced: true}
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if kept[dir] == nil {
				delete(kept, name)
			}
		}
	}
	return kept
}

func rename(d disk, op fileops.Op, f *inode) {
	switch op.Kind {
	case fileops.OpMkdir, fileops.OpCreate:
		d[op.Name] = f
	case fileops.OpLink:
		d[op.To] = f
	case fileops.OpRename:
		delete(d, op.Name)
		d[op.To] = f
	case fileops.OpRemove:
		delete(d, op.Name)
	}
}

// namesSynced tells whether the directory that op changed is synced by one of the operations that follow.
func namesSynced(following []fileops.Op, op fileops.Op) bool {
	name := op.Name
	if op.To != "" {
		name = op.To
	}
	return slices.ContainsFunc(following, func(o fileops.Op) bool {
		return o.Kind == fileops.OpSyncDir && o.Name == path.Dir(name)
	})
}

func readDisk(t *testing.T, dir string) disk {
	t.Helper()
	d := disk{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(dir, p)
		require.NoError(t, err)
		switch {
		case name == ".":
		case e.IsDir():
			d[name] = &inode{dir: true, synced: true}
		default:
			d[name] = &inode{data: read(t, p), synced: true}
		}
		return nil
	}))
	return d
}

func (d disk) write(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if p := filepath.Join(dir, name); d[name].dir {
			require.NoError(t, os.Mkdir(p, 0o700))
		} else {
			require.NoError(t, os.WriteFile(p, []byte(d[name].data), 0o600))
		}
	}
	return dir
}

// state opens the store on a disk, and returns all that it holds as text, and with which passphrase. It checks that
// nothing is left lying about.
func (d disk) state(t *testing.T) string {
	t.Helper()
	dir := d.write(t)
	var text strings.Builder
	var s *Store
	for _, p := range []string{"open sesame", "shut sesame"} {
		var err error
		if s, err = open(t.Context(), Config{Dir: dir, Passphrase: passphrase(p)}, nil, quickly); err == nil {
			fmt.Fprintln(&text, p)
			break
		}
		require.ErrorIs(t, err, provider.ErrAuth)
	}
	require.NotNil(t, s)
	defer s.Close()
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
			var r recorder
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
	var r recorder
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, r.hook, quickly)
	require.NoError(t, err)
	defer s.Close()
	walkCrashes(t, disk{}, r.ops, readDisk(t, dir).state(t))
}

// walkCrashes crashes behind each of ops, with each kind of loss.
func walkCrashes(t *testing.T, before disk, ops []fileops.Op, done string) {
	t.Helper()
	require.NotEmpty(t, ops)
	old := before.state(t)
	for n := range len(ops) + 1 {
		for _, l := range losses {
			got := crash(before, ops[:n], l).state(t)
			if got != old {
				require.Equal(t, done, got, "after %d of %d operations; %s", n, len(ops), l.name)
			}
			if n == len(ops) {
				require.Equal(t, done, got, "what was acknowledged stays; %s", l.name)
			}
		}
	}
}
