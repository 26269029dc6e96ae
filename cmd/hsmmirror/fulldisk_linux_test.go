package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system that holds no more than 256 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700")
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("missing capability: to mount a file system (CAP_SYS_ADMIN)")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// fill fills a disk but for some pages, and returns how to free it again.
func fill(t *testing.T, disk string, free int) (clear func()) {
	t.Helper()
	path := filepath.Join(disk, "filler")
	f, err := os.Create(path)
	require.NoError(t, err)
	page, size := make([]byte, os.Getpagesize()), 0
	for err == nil {
		var n int
		n, err = f.Write(page)
		size += n
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Truncate(int64(max(0, size-free*len(page)))))
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(path)) }
}

// filesUnder returns the names and contents of the files below dir.
func filesUnder(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

// A disk is full at the first write of a command, the second, and so on, until there is room for it. Until then the command says so and
// leaves everything as it was; as soon as there is room it works, with what was there before.
func TestADiskThatIsFull(t *testing.T) {
	t.Parallel()
	before := t.TempDir()
	store := []string{"HSMMIRROR_STORE=" + before, "HSMMIRROR_PASSPHRASE_SOURCE=env:PASSPHRASE", "PASSPHRASE=correct-horse"}
	succeeded(t, store, "key", "create", "--kid", "old", "--alg", "ED25519", "--export-policy", "secret_when_allowed")
	pem := filepath.Join(t.TempDir(), "old.pem")
	succeeded(t, store, "key", "export", "old", "--out", pem)
	for _, tt := range []struct {
		name string
		args []string
		made string // a version that is there afterwards
	}{
		{"create", []string{"key", "create", "--kid", "new", "--alg", "ED25519"}, "new.1"},
		{"rotate", []string{"key", "rotate", "old", "--now"}, "old.2"},
		{"import", []string{"key", "import", "--kid", "new", "--alg", "ED25519", "--in", pem}, "new.1"},
		{"export", []string{"key", "export", "old", "--out", "OUT"}, "old.1"},
		{"jwks", []string{"store", "export", "--out", "OUT"}, "old.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := smallDisk(t)
			dir, out := filepath.Join(disk, "store"), filepath.Join(disk, "out")
			env := append(slices.Clone(store), "HSMMIRROR_STORE="+dir)
			args := slices.Clone(tt.args)
			for i := range args {
				if args[i] == "OUT" {
					args[i] = out
				}
			}
			for free := 0; ; free++ {
				require.NoError(t, os.RemoveAll(dir))
				require.NoError(t, os.CopyFS(dir, os.DirFS(before)))
				require.NoError(t, chmodAll(dir))
				was := filesUnder(t, dir)
				room := fill(t, disk, free)
				r := ended(t, env, args...)
				room()
				if r.code == exitDone {
					require.Positive(t, free, "the disk was full")
					break
				}
				require.Equal(t, exitRefused, r.code, r)
				require.Contains(t, r.stderr, "no space left on device")
				require.Empty(t, r.out)
				require.Equal(t, was, filesUnder(t, dir))
				require.NoFileExists(t, out)
			}
			succeeded(t, env, "key", "show", tt.made)
			succeeded(t, env, "key", "show", "old.1")
		})
	}
}

func chmodAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}

// What is there already stays when there is no room for its successor.
func TestAFullDiskTakesNoFileAway(t *testing.T) {
	t.Parallel()
	disk, env := smallDisk(t), []string{"HSMMIRROR_STORE=" + t.TempDir(), "HSMMIRROR_PASSPHRASE_SOURCE=env:PASSPHRASE", "PASSPHRASE=correct-horse"}
	succeeded(t, env, "key", "create", "--kid", "old", "--alg", "ED25519")
	out := filepath.Join(disk, "out")
	require.NoError(t, os.WriteFile(out, []byte("what others read"), 0o640))
	room := fill(t, disk, 0)
	r := ended(t, env, "store", "export", "--out", out)
	room()
	require.Equal(t, exitRefused, r.code, r)
	require.Equal(t, map[string]string{out: "what others read"}, filesUnder(t, disk))
	succeeded(t, env, "store", "export", "--out", out)
	info, err := os.Stat(out)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode())
	require.Contains(t, filesUnder(t, disk)[out], `"old.1"`)
}

// The disk of the mirror is full, and that of the primary is not. A write is done and says that it is not mirrored, or is not done; with
// room again a pass repairs it.
func TestTheDiskOfTheMirrorIsFull(t *testing.T) {
	t.Parallel()
	disk, primary := smallDisk(t), t.TempDir()
	env := []string{"HSMMIRROR_PASSPHRASE_SOURCE=env:PASSPHRASE", "PASSPHRASE=correct-horse"}
	uri := "mirrored:?primary=" + url.QueryEscape("softfile:"+primary+"?passphrase-source=env:PASSPHRASE") +
		"&secondary=" + url.QueryEscape("softfile:"+disk+"/store") + "&manifest_dir=" + url.QueryEscape(disk+"/mirror") + "&state_dir=" + url.QueryEscape(disk+"/own")
	env = append(env, "HSMMIRROR_URI="+uri)
	alone := append(slices.Clone(env), "HSMMIRROR_URI=softfile:"+primary+"?passphrase-source=env:PASSPHRASE")
	copies := append(slices.Clone(env), "HSMMIRROR_URI=softfile:"+disk+"/store")
	succeeded(t, env, "key", "create", "--kid", "old", "--alg", "ED25519")
	for free, code := 0, exitRefused; code != exitDone; free++ {
		kid := fmt.Sprintf("new-%d", free)
		room := fill(t, disk, free)
		r := ended(t, env, "key", "create", "--kid", kid, "--alg", "ED25519")
		room()
		code = r.code
		if code == exitDone {
			require.Positive(t, free, "the disk was full")
		} else {
			require.Contains(t, r.stderr, "no space left on device")
		}
		done := ended(t, alone, "key", "show", kid).code == exitDone
		require.Equal(t, code != exitRefused, done, r)
		succeeded(t, env, "mirror", "reconcile")
		succeeded(t, env, "mirror", "status")
		require.Equal(t, done, ended(t, copies, "key", "show", kid).code == exitDone)
	}
}

// init and the demo make a token, a keystore and a configuration. Without room they leave nothing of them.
func TestNoRoomToSetUp(t *testing.T) {
	t.Parallel()
	if ok, err := condition("softhsm"); !ok {
		require.NoError(t, err)
		t.Skip("missing capability: SoftHSM2 and cgo")
	}
	for _, tt := range []struct {
		name string
		args func(disk string) []string
	}{
		{"init", func(disk string) []string {
			return []string{"init", "--softhsm", disk + "/dev", "--store", disk + "/store", "--out", disk + "/config.yaml"}
		}},
		{"demo", func(string) []string { return []string{"demo"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := smallDisk(t)
			for _, free := range []int{0, 1, 2, 5, 9, 14, 20, 50} {
				room := fill(t, disk, free)
				r := ended(t, []string{"TMPDIR=" + disk, "HOME=" + disk}, tt.args(disk)...)
				room()
				if r.code == exitDone {
					require.Positive(t, free, "the disk was full")
					break
				}
				require.Equal(t, exitRefused, r.code, r)
				require.Contains(t, r.stderr, "hsmmirror: error: ")
				left, err := os.ReadDir(disk)
				require.NoError(t, err)
				require.Empty(t, left, r)
			}
		})
	}
}
