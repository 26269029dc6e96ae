//go:build unix

package secretsource

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func TestFileIsReadAtEachCall(t *testing.T) {
	path := write(t, pin+"\n", 0o600)
	source := File(path)
	first, err := source(t.Context())
	require.NoError(t, err)
	require.Equal(t, pin, string(first.Expose()))
	first.Wipe()

	require.NoError(t, os.WriteFile(path, []byte("changed"), 0o600))
	second, err := source(t.Context())
	require.NoError(t, err)
	require.Equal(t, "changed", string(second.Expose()))
}

func TestFileModes(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o400} {
		got, err := get(t, spec("file", write(t, pin, mode)))
		require.NoError(t, err, "%04o", mode)
		require.Equal(t, pin, got)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o601, 0o777} {
		path := write(t, pin, mode)
		_, err := get(t, spec("file", path))
		require.ErrorIs(t, err, provider.ErrAuth, "%04o", mode)
		require.ErrorContains(t, err, path+" is open to others")
		require.NotContains(t, err.Error(), pin)
	}
}

func TestFileOfSomeoneElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := write(t, pin, 0o600)
	require.NoError(t, os.Chown(path, 4711, -1))
	_, err := get(t, spec("file", path))
	require.ErrorIs(t, err, provider.ErrAuth)
	require.ErrorContains(t, err, "belongs to user 4711: want user 0 or root")
}

func TestASymbolicLinkIsJudgedByItsTarget(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link") // as Kubernetes mounts a secret
	require.NoError(t, os.Symlink(write(t, pin, 0o400), link))
	got, err := get(t, spec("file", link))
	require.NoError(t, err)
	require.Equal(t, pin, got)

	open := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(write(t, pin, 0o644), open))
	_, err = get(t, spec("file", open))
	require.ErrorContains(t, err, "is open to others")
}

func TestOnlyRegularFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	for name, path := range map[string]string{"a FIFO without a writer does not block": fifo, "directory": t.TempDir(), "device": "/dev/null"} {
		t.Run(name, func(t *testing.T) {
			_, err := get(t, spec("file", path))
			require.ErrorIs(t, err, provider.ErrAuth)
			require.EqualError(t, err, "authentication refused: "+path+" is no regular file")
		})
	}
	_, err := get(t, spec("file", filepath.Join(t.TempDir(), "absent")))
	require.ErrorIs(t, err, provider.ErrAuth)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFileSizes(t *testing.T) {
	got, err := get(t, spec("file", write(t, strings.Repeat("x", MaxBytes)+"\r\n", 0o600)))
	require.NoError(t, err)
	require.Len(t, got, MaxBytes)

	for name, content := range map[string]string{"empty": "", "a newline alone": "\n"} {
		_, err := get(t, spec("file", write(t, content, 0o600)))
		require.ErrorIs(t, err, provider.ErrAuth, name)
		require.ErrorContains(t, err, "is empty", name)
	}
	for _, size := range []int{MaxBytes + 1, MaxBytes + 2, MaxBytes + 3, 1 << 20} {
		_, err := get(t, spec("file", write(t, strings.Repeat("x", size), 0o600)))
		require.ErrorIs(t, err, provider.ErrAuth, size)
		require.ErrorContains(t, err, "holds more than 4096 bytes", size)
	}
}
