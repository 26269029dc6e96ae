package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
)

func TestLeftoversGoAndWhatOthersMadeStays(t *testing.T) {
	home := t.TempDir()
	config, data := filepath.Join(home, ".config", "hsmmirror", "config.yaml"), filepath.Join(home, ".local", "share", "store")
	there := filepath.Join(home, "there")
	require.NoError(t, os.Mkdir(there, 0o700))
	var made leftovers
	for _, path := range []string{config, data, there} {
		made.expect(path)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(config), 0o700))
	require.NoError(t, os.WriteFile(config, nil, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(data, "keys"), 0o700))
	others := filepath.Join(home, ".config", "another program's")
	require.NoError(t, os.WriteFile(others, nil, 0o600))

	require.NoError(t, made.remove())
	require.FileExists(t, others)
	require.NoDirExists(t, filepath.Dir(config))
	require.NoDirExists(t, filepath.Join(home, ".local"))
	require.DirExists(t, there)
}

// A keystore that a failed command has made goes again, unless there is anything in it by now, or another process is at work with it.
func TestOnlyAnEmptyKeystoreIsDropped(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, filepath.FromSlash(name))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		}
	}
	tests := []struct {
		name  string
		since func(t *testing.T, dir string) // what has come since it was made
		stays bool
	}{
		{"nothing", func(*testing.T, string) {}, false},
		{"what every keystore has", write(keystoreKey, "{}"), false},
		{"the directory of a key", func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "keys", "k"), 0o700))
		}, false},
		{"an empty file, of a record that could not be written", write("keys/k/.1.json", ""), false},
		{"a record", write("keys/k/1.json", "1"), true},
		{"a record under the name of a file that every keystore has", write("keys/storekey.jwe/1.json", "{}"), true},
		{"a file of somebody with such a name", write("keys/k/lock", "1"), true},
		{"another file", write("readme", "mine"), true},
		{"another writer", func(t *testing.T, dir string) {
			other, err := fileops.Open(dir, nil)
			require.NoError(t, err)
			unlock, held, err := other.TryLock(keystoreLock)
			require.NoError(t, err)
			require.True(t, held)
			t.Cleanup(func() {
				unlock()
				require.NoError(t, other.Close())
			})
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			a := &app{options: options{store: dir}}
			s, err := a.openKeystore(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.DirExists(t, dir)
			test.since(t, dir)
			a.dropEmpty()
			require.Equal(t, test.stays, !missing(dir))
			require.Empty(t, a.notes.lines)
		})
	}
}

// The key is made, and nobody is told: what was made stays.
func TestAKeystoreWithAKeyStays(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	t.Setenv("PASSPHRASE", "correct-horse")
	create := []string{"key", "create", "k", "--alg", "ED25519", "--store", store, "--passphrase-source", "env:PASSPHRASE"}
	require.Equal(t, exitRefused, run(t.Context(), create, streams{nil, full{}, io.Discard}))
	do(t, nil, "key", "show", "k", "--store", store)
}
