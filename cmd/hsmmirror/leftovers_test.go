package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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
