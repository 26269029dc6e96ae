//go:build cgo

package hsm_test

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// TestExample runs the example on a token of the tests. With an output of its own it would run, and fail, where there is none.
func TestExample(t *testing.T) {
	token := softhsmtest.Token(t, "other")
	module, label, pinFile = softhsmtest.Get(t).Module, token.Label, token.PINFile
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = w
	Example()
	os.Stdout = stdout
	require.NoError(t, w.Close())
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Regexp(t, `^invoices\.\d+ active verifies: true\n$`, string(out))

	again, err := hsm.Open(context.Background(), hsm.Config{Module: module, Label: label, PIN: token.PINSource()})
	require.NoError(t, err)
	defer func() { require.NoError(t, again.Close()) }()
	_, err = again.DestroyKey(context.Background(), "invoices", provider.AllVersions)
	require.NoError(t, err)
}
