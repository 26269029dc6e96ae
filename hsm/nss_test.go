//go:build cgo

package hsm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

const nssPIN = "1234"

// requireModule returns the first file that matches one of the patterns. Without one the test is skipped, or fails where everything
// has to be installed.
func requireModule(t testing.TB, name string, patterns ...string) string {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		if len(found) > 0 {
			return found[0]
		}
	}
	if os.Getenv(softhsmtest.RequireEnv) != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("missing capability: %s", name)
	return ""
}

// softokn is the PKCS#11 module of NSS, the library of Firefox.
func softokn(t testing.TB) string {
	t.Helper()
	return requireModule(t, "NSS softokn", "/usr/lib*/libsoftokn3.so", "/usr/lib*/*/libsoftokn3.so", "/usr/lib*/*/nss/libsoftokn3.so")
}

// newNSS makes an NSS database and returns the configuration of the token on it.
func newNSS(t testing.TB) Config {
	t.Helper()
	module := softokn(t)
	requireProgram(t, "certutil")
	dir := t.TempDir()
	pin := filepath.Join(dir, "pin")
	require.NoError(t, os.WriteFile(pin, []byte(nssPIN), 0o600))
	out, err := exec.Command("certutil", "-N", "-d", "sql:"+dir, "-f", pin).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return Config{
		Module:   module,
		InitArgs: fmt.Sprintf("configDir='sql:%s' certPrefix='' keyPrefix='' secmod='' flags= dbTokenDescription='nss'", dir),
		Label:    "nss",
		PIN:      func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte(nssPIN)), nil },
		Logger:   slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
}

func TestAModuleThatNeedsArgumentsIsRefusedWithoutThem(t *testing.T) {
	_, err := Open(context.Background(), Config{Module: softokn(t), Label: "any"})
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorContains(t, err, "it needs initialisation arguments")
	require.ErrorContains(t, err, "x-init-reserved")
}

func TestAModuleThatNeedsArgumentsOpensWithThem(t *testing.T) {
	ctx := context.Background()
	cfg := newNSS(t)
	tokens, err := Tokens(ctx, cfg.Module, cfg.InitArgs)
	require.NoError(t, err)
	require.Len(t, tokens, 2, "one for what needs no login, and the database")
	require.Equal(t, "nss", tokens[1].Label)
	first, err := Open(ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, first.Health(ctx))

	other := cfg
	other.InitArgs = "configDir='sql:/elsewhere'"
	_, err = Open(ctx, other)
	require.ErrorIs(t, err, provider.ErrInvalid, "a module has one state in a process")
	second, err := Open(ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.NoError(t, second.Health(ctx), "the module stays open for the other Token")
	require.NoError(t, second.Close())
	_, err = Open(ctx, other)
	require.False(t, err == nil, "it was closed with the last Token, and opens with other arguments")
	require.NotErrorIs(t, err, provider.ErrInvalid)
}
