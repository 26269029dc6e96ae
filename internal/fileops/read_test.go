//go:build unix

package fileops

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadFileReadsRegularFilesOnly(t *testing.T) {
	d, path := open(t, nil)
	at := func(name string) string { return filepath.Join(path, name) }
	require.NoError(t, os.WriteFile(at("file"), []byte("12345"), 0o600))
	require.NoError(t, os.Symlink("file", at("link")))
	require.NoError(t, syscall.Mkfifo(at("fifo"), 0o600))
	require.NoError(t, os.Mkdir(at("dir"), 0o700))
	l, err := net.Listen("unix", at("socket"))
	require.NoError(t, err)
	defer l.Close()
	huge, err := os.Create(at("huge"))
	require.NoError(t, err)
	require.NoError(t, huge.Truncate(10<<30)) // sparse
	require.NoError(t, huge.Close())

	tests := []struct {
		name string
		want error
		text string
	}{
		{"file", nil, ""},
		{"link", ErrType, "want a regular file, found a symbolic link"},
		{"fifo", ErrType, "want a regular file, found a FIFO"},
		{"dir", ErrType, "want a regular file, found a directory"},
		{"socket", ErrType, "want a regular file, found a socket"},
		{"huge", ErrSize, "10737418240 bytes, want at most 5"},
		{"missing", os.ErrNotExist, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, info, err := d.ReadFile(tt.name, 5)
			if tt.want == nil {
				require.NoError(t, err)
				require.Equal(t, "12345", string(data))
				require.EqualValues(t, 5, info.Size())
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, at(tt.name)+": ")
			require.ErrorContains(t, err, tt.text)
		})
	}
}

// What was a regular file when it was looked at may be a FIFO when it is opened.
func TestReadFileNeverWaitsForAWriter(t *testing.T) {
	d, path := open(t, nil)
	name := filepath.Join(path, "f")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	d.hook = func(op Op) error {
		if op.Kind == OpRead {
			require.NoError(t, os.Remove(name))
			require.NoError(t, syscall.Mkfifo(name, 0o600))
		}
		return nil
	}
	_, _, err := d.ReadFile("f", 5)
	require.ErrorIs(t, err, ErrType)
}

func TestADirectoryThatIsReplacedWhileItIsOpened(t *testing.T) {
	d, path := open(t, nil)
	require.NoError(t, os.Mkdir(filepath.Join(path, "a"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(path, "b"), 0o700))
	d.hook = func(op Op) error {
		if op.Kind == OpOpen {
			require.NoError(t, os.Remove(filepath.Join(path, "a")))
			require.NoError(t, os.Symlink("b", filepath.Join(path, "a")))
		}
		return nil
	}
	_, err := d.Sub("a")
	require.ErrorIs(t, err, ErrType)
}
