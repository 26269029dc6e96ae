//go:build unix

package faultmoduletest

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

// New makes a module over the SoftHSM2 of softhsmtest.Main, and closes it when the test and its later cleanups are done. It skips
// the test where there is no C compiler, unless SoftHSM2 is required.
func New(t testing.TB) *faultmodule.Module {
	t.Helper()
	m, err := faultmodule.New(t.TempDir(), softhsmtest.Get(t).Module)
	if errors.Is(err, faultmodule.ErrNoCompiler) && os.Getenv(softhsmtest.RequireEnv) == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}
