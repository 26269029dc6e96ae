//go:build unix

package hsm

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestAFIFOIsNoModuleAndNobodyWaitsForIt(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "module.so")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	_, err := New(Config{Module: fifo, Label: "any"})
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorContains(t, err, "not a directory or device")
}
