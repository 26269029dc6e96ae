package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestOutputIsAFileAsAWhole(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("missing capability: modes that tell who may read a file")
	}
	tests := []struct {
		name  string
		there func(dir string) error // before
		path  string
		want  map[string]fs.FileMode // afterwards, by name
		read  string                 // the file that holds what was written
	}{
		{"a new file", func(string) error { return nil }, "out", map[string]fs.FileMode{"out": 0o644}, "out"},
		{"a file that is there keeps its mode", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "out"), []byte("longer than what comes"), 0o600), os.Chmod(filepath.Join(dir, "out"), 0o640))
		}, "out", map[string]fs.FileMode{"out": 0o640}, "out"},
		{"a link stays one", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "linked"), []byte("longer than what comes"), 0o600), os.Symlink("linked", filepath.Join(dir, "out")))
		}, "out", map[string]fs.FileMode{"out": fs.ModeSymlink | 0o777, "linked": 0o600}, "linked"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, test.there(dir))
			require.NoError(t, (&app{}).writeOutput(filepath.Join(dir, test.path), []byte("content"), 0o644))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			got := map[string]fs.FileMode{}
			for _, e := range entries {
				info, err := e.Info()
				require.NoError(t, err)
				got[e.Name()] = info.Mode()
			}
			require.Equal(t, test.want, got)
			b, err := os.ReadFile(filepath.Join(dir, test.read))
			require.NoError(t, err)
			require.Equal(t, "content", string(b))
		})
	}
}

func TestOutputThatHasNoPlaceLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "taken", "by"), 0o700))
	for _, path := range []string{"absent/out", "taken"} {
		require.Error(t, (&app{}).writeOutput(filepath.Join(dir, path), []byte("content"), 0o644))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestADashIsStdinAndStdout(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"", "-"} {
		var out bytes.Buffer
		a := &app{streams: streams{in: strings.NewReader("content"), out: &out}}
		b, err := a.readInput(t.Context(), path, 100)
		require.NoError(t, err)
		require.NoError(t, a.writeOutput(path, b, 0o644))
		require.NoError(t, a.writeSecret(path, b))
		require.Equal(t, "contentcontent", out.String())
	}
	left, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestInputIsReadWholeOrNotAtAll(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	blocked, _ := io.Pipe()
	tests := []struct {
		name string
		ctx  context.Context
		in   io.Reader
		want error
	}{
		{"as much as may be", t.Context(), strings.NewReader("1234"), nil},
		{"more than may be", t.Context(), strings.NewReader("12345"), provider.ErrInvalid},
		{"an error on the way", t.Context(), io.MultiReader(strings.NewReader("1"), iotest.ErrReader(errFull)), provider.ErrInvalid},
		{"an interrupt while nothing comes", cancelled, blocked, context.Canceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := &app{streams: streams{in: test.in}}
			b, err := a.readInput(test.ctx, "", 4)
			require.ErrorIs(t, err, test.want)
			if test.want == nil {
				require.Equal(t, "1234", string(b))
			}
		})
	}
}
