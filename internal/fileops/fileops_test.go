//go:build unix

package fileops

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// open returns a new directory and its path.
func open(t *testing.T, hook Hook) (*Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := Open(path, hook)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d, path
}

// record returns a hook that notes the operations, with every temporary file as TEMP, and the notes.
func record() (Hook, func() []string) {
	var ops []string
	temp := func(name string) string {
		if first, rest, _ := strings.Cut(name, "/"); isTemp(first) {
			return path.Join("TEMP", rest)
		}
		return name
	}
	hook := func(op Op) error {
		ops = append(ops, strings.TrimSpace(string(op.Kind)+" "+temp(op.Name)+" "+op.To))
		return nil
	}
	return hook, func() []string { return ops }
}

func TestWhatIsDoneInWhichOrder(t *testing.T) {
	tests := []struct {
		name string
		do   func(*Dir) error
		want []string
	}{
		{"a new file is synced before it has a name, and the name before the call returns",
			func(d *Dir) error { return d.Create("a", []byte("x")) },
			[]string{"create TEMP", "write TEMP", "sync TEMP", "link TEMP a", "remove TEMP", "syncdir ."}},
		{"a new directory is synced with its file before it has a name, and the name before the call returns",
			func(d *Dir) error { return d.CreateDir("keys/new", "1", []byte("x")) },
			[]string{"mkdir TEMP", "create TEMP/1", "write TEMP/1", "sync TEMP/1", "syncdir TEMP", "rename TEMP keys/new", "syncdir keys"}},
		{"a changed file is synced before it takes its place",
			func(d *Dir) error { return d.Replace("keys/old/1", []byte("y")) },
			[]string{"create TEMP", "write TEMP", "sync TEMP", "rename TEMP keys/old/1", "syncdir keys/old"}},
		{"a removal is synced", func(d *Dir) error { return d.Remove("keys/old/1") },
			[]string{"remove keys/old/1", "syncdir keys/old"}},
		{"a directory is synced into its parent", func(d *Dir) error { return d.Mkdir("keys/b") },
			[]string{"mkdir keys/b", "syncdir keys"}},
		{"what another may have left is synced in the order that is asked for", func(d *Dir) error { return d.Sync("keys", ".") },
			[]string{"syncdir keys", "syncdir ."}},
		{"a directory that is there stays", func(d *Dir) error { return d.Mkdir("keys/old") },
			[]string{"mkdir keys/old", "stat keys/old"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, path := open(t, nil)
			require.NoError(t, os.MkdirAll(filepath.Join(path, "keys/old"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(path, "keys/old/1"), []byte("x"), 0o600))
			hook, ops := record()
			d.hook = hook
			require.NoError(t, tt.do(d))
			require.Equal(t, tt.want, ops())
		})
	}
}

// Each operation is made to fail at each of its steps, and then done again. The original's defect F02: no step was synced
// and files were overwritten in place.
func TestAStepThatFailsLeavesTheOldState(t *testing.T) {
	tests := []struct {
		name string
		do   func(*Dir) error
		old  string // the content of keys/old/1 before, and after a failure
		new  string // a file that is there only once the operation was done
	}{
		{"create", func(d *Dir) error { return d.Create("keys/old/2", []byte("y")) }, "x", "keys/old/2"},
		{"create a directory", func(d *Dir) error { return d.CreateDir("keys/new", "1", []byte("y")) }, "x", "keys/new"},
		{"replace", func(d *Dir) error { return d.Replace("keys/old/1", []byte("y")) }, "x", ""},
		{"remove", func(d *Dir) error { return d.Remove("keys/old/1") }, "x", ""},
		{"make a directory", func(d *Dir) error { return d.Mkdir("keys/new") }, "x", "keys/new"},
	}
	for _, tt := range tests {
		for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EACCES} {
			t.Run(tt.name+" meets "+errno.Error(), func(t *testing.T) {
				for fail := 0; ; fail++ {
					d, path := open(t, nil)
					require.NoError(t, os.MkdirAll(filepath.Join(path, "keys/old"), 0o700))
					require.NoError(t, os.WriteFile(filepath.Join(path, "keys/old/1"), []byte("x"), 0o600))
					var failed Kind
					var last bool
					n := 0
					d.hook = func(op Op) error {
						if n++; n == fail+1 {
							failed, last = op.Kind, !strings.HasPrefix(op.Name, tempPrefix)
							return errno
						}
						return nil
					}
					err := tt.do(d)
					if failed == "" {
						require.NoError(t, err)
						return // every step had its turn
					}
					names, lerr := d.List()
					require.NoError(t, lerr)
					if failed == OpRemove && tt.name != "remove" {
						require.NoError(t, err, "the file is there; only its temporary name could not be removed")
						d.hook = nil
						require.NoError(t, d.Sweep())
						continue
					}
					require.ErrorIs(t, err, errno)
					require.ErrorContains(t, err, path)
					require.Equal(t, []string{"keys"}, names, "no temporary file is left")
					if failed == OpSyncDir && last {
						continue // the new state stands, as documented
					}
					b, rerr := os.ReadFile(filepath.Join(path, "keys/old/1"))
					require.NoError(t, rerr)
					require.Equal(t, tt.old, string(b))
					if tt.new != "" {
						require.NoFileExists(t, filepath.Join(path, tt.new))
						require.NoDirExists(t, filepath.Join(path, tt.new))
					}
					d.hook = nil
					require.NoError(t, tt.do(d), "the next attempt works")
				}
			})
		}
	}
}

func TestCreateTakesNoOnesPlace(t *testing.T) {
	for _, noLinks := range []bool{false, true} {
		d, path := open(t, nil)
		if noLinks {
			d.hook = func(op Op) error {
				if op.Kind == OpLink {
					return syscall.EPERM // as FAT answers
				}
				return nil
			}
		}
		require.NoError(t, d.Create("a", []byte("first")))
		require.ErrorIs(t, d.Create("a", []byte("second")), fs.ErrExist)
		require.NoError(t, os.Symlink("nowhere", filepath.Join(path, "link")))
		require.ErrorIs(t, d.Create("link", []byte("second")), fs.ErrExist)
		b, _, err := d.ReadFile("a", 100)
		require.NoError(t, err)
		require.Equal(t, "first", string(b))
		names, err := d.List()
		require.NoError(t, err)
		require.Equal(t, []string{"a", "link"}, names)
	}
}

// The original's defect F01: files were readable by others.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	d, path := open(t, nil)
	require.NoError(t, d.Mkdir("keys"))
	require.NoError(t, d.CreateDir("keys/a", "1", nil))
	require.NoError(t, d.Replace("b", nil))
	require.NoError(t, Make(filepath.Join(path, "c"), nil))
	require.NoError(t, Make(filepath.Join(path, "c"), nil), "one that is there is no error")
	unlock, err := d.Lock(t.Context(), "lock")
	require.NoError(t, err)
	unlock()
	for name, want := range map[string]fs.FileMode{"keys": 0o700, "keys/a": 0o700, "keys/a/1": 0o600, "b": 0o600, "c": 0o700, "lock": 0o600} {
		info, err := d.Lstat(name)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), name)
	}

	require.NoError(t, os.Chmod(filepath.Join(path, "b"), 0o664))
	info, err := d.Lstat("b")
	require.NoError(t, err)
	changed, err := d.Tighten("b", info)
	require.NoError(t, err)
	require.True(t, changed)
	info, err = d.Lstat("b")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	changed, err = d.Tighten("b", info)
	require.NoError(t, err)
	require.False(t, changed)
}

func TestSweepTakesTemporaryFilesOnly(t *testing.T) {
	d, path := open(t, nil)
	require.NoError(t, os.MkdirAll(filepath.Join(path, ".tmp-0000/not/ours"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(path, ".tmp-8899"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(path, ".tmp-aabb"), 0o700))
	for _, name := range []string{".tmp-0011223344556677", ".tmp-aabb/1", ".tmp-aabb/2", ".tmp-notes", ".hidden", "lock"} {
		require.NoError(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
	}
	require.NoError(t, os.Symlink("keep", filepath.Join(path, ".tmp-cc")))
	require.NoError(t, os.Mkdir(filepath.Join(path, "keep"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(path, "keep/1"), nil, 0o600))
	require.ErrorContains(t, d.Sweep(), filepath.Join(path, ".tmp-0000/not"))
	names, err := d.List()
	require.NoError(t, err)
	require.Equal(t, []string{".hidden", ".tmp-0000", ".tmp-notes", "keep", "lock"}, names)
	require.FileExists(t, filepath.Join(path, "keep/1"), "a link is removed, not what it leads to")
}

func TestCreateDirTakesNoOnesPlace(t *testing.T) {
	d, path := open(t, nil)
	require.NoError(t, os.Mkdir(filepath.Join(path, "empty"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(path, "full"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(path, "full/1"), []byte("first"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(path, "file"), []byte("first"), 0o600))
	require.NoError(t, os.Symlink("empty", filepath.Join(path, "link")))
	for _, name := range []string{"empty", "full", "file", "link"} {
		require.Error(t, d.CreateDir(name, "1", []byte("second")), name)
	}
	require.ErrorIs(t, d.CreateDir("full", "1", []byte("second")), fs.ErrExist)
	require.NoFileExists(t, filepath.Join(path, "empty/1"))
	for _, name := range []string{"full/1", "file"} {
		b, err := os.ReadFile(filepath.Join(path, name))
		require.NoError(t, err)
		require.Equal(t, "first", string(b), name)
	}
	names, err := d.List()
	require.NoError(t, err)
	require.Equal(t, []string{"empty", "file", "full", "link"}, names)
}

func TestNoNameEscapes(t *testing.T) {
	d, path := open(t, nil)
	outside := filepath.Join(filepath.Dir(path), "outside")
	require.NoError(t, os.Mkdir(outside, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "f"), []byte("theirs"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(path, "link")))
	for _, name := range []string{"../outside/f", "link/f", "/etc/passwd"} {
		_, _, err := d.ReadFile(name, 1<<20)
		require.Error(t, err, name)
		require.Error(t, d.Create(name+"2", []byte("x")), name)
		require.Error(t, d.CreateDir(name, "1", []byte("x")), name)
		require.Error(t, d.Replace(name, []byte("x")), name)
		require.Error(t, d.Remove(name), name)
	}
	_, err := d.Sub("link")
	require.ErrorIs(t, err, ErrType)
	require.ErrorContains(t, err, "want a directory, found a symbolic link")
	b, err := os.ReadFile(filepath.Join(outside, "f"))
	require.NoError(t, err)
	require.Equal(t, "theirs", string(b))
	require.True(t, errors.Is(d.Mkdir("link"), ErrType))
}
