package main

import (
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
)

// interrupts is few in the ordinary tests; ci/faults asks for many.
var interrupts = flag.Int("interrupts", 1, "how often each command of TestCommandsAreInterrupted is interrupted")

// Long commands get SIGINT or SIGTERM at a random moment. They end as they do when they are done, or say that they were interrupted; what
// is left is whole, and the next command works.
func TestCommandsAreInterrupted(t *testing.T) {
	if ok, err := condition("softhsm"); !ok {
		require.NoError(t, err)
		t.Skip("missing capability: SoftHSM2 and cgo")
	}
	t.Parallel()
	dir := t.TempDir()
	h, err := softhsm.New(t.Context(), dir, "demo")
	require.NoError(t, err)
	store, tmp, out := filepath.Join(dir, "store"), filepath.Join(dir, "tmp"), filepath.Join(dir, "out")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	env := []string{
		h.Env(), "HSMMIRROR_MODULE=" + h.Module, "HSMMIRROR_TOKEN=demo", "HSMMIRROR_PIN_SOURCE=file:" + h.Tokens[0].PINFile,
		"HSMMIRROR_STORE=" + store, "TMPDIR=" + tmp, "HOME=" + dir,
	}
	succeeded(t, env, "key", "create", "--kid", "old", "--alg", "ECDSA_P256_SHA256", "--export-policy", "secret_when_allowed")
	pem := filepath.Join(dir, "old.pem")
	succeeded(t, env, "key", "export", "old", "--out", pem)
	for _, args := range []string{
		"key create --kid KID --alg RSA_PSS_SHA256 --bits 4096",
		"key rotate old",
		"key import --kid KID --alg ECDSA_P256_SHA256 --in " + pem,
		"key export old.1 --out " + out,
		"mirror reconcile",
		"jwks",
		"demo",
	} {
		t.Run(strings.Join(strings.Fields(args)[:min(2, len(strings.Fields(args)))], " "), func(t *testing.T) {
			for n := range *interrupts {
				kid := strings.ReplaceAll(t.Name(), "/", ".") + "." + string(rune('a'+n%26)) + strings.Repeat("x", n/26)
				_ = os.Remove(out)
				wait := interruptedSoon(t, env, strings.Fields(strings.ReplaceAll(args, "KID", kid)))
				r := wait()
				require.Contains(t, []int{exitDone, exitRefused, exitDegraded, -1}, r.code, r) // -1: it had not begun to listen
				if r.code == exitRefused {
					require.Contains(t, r.stderr, "hsmmirror: error: interrupted\n")
				}
				if b, err := os.ReadFile(out); err == nil && strings.Contains(args, "export") {
					require.True(t, strings.HasSuffix(string(b), "-----END PRIVATE KEY-----\n"), "half a key: %q", b)
				}
				require.Empty(t, temporary(t, dir))
			}
			succeeded(t, env, "mirror", "reconcile")
			succeeded(t, env, "mirror", "diff", "--exit-code")
			succeeded(t, env, "key", "list")
		})
	}
	// What a call into the module outlives is half-made, as an RSA key on a slow machine, until the token is tidied.
	succeeded(t, env, "token", "tidy", "--older-than", "0s")
	for line := range strings.Lines(succeeded(t, env, "token", "objects")) {
		require.NotContains(t, line, " half ")
	}
}

// interruptedSoon starts a command and signals it at a random moment of its first half second.
func interruptedSoon(t *testing.T, env, args []string) (wait func() result) {
	t.Helper()
	cmd := command(t, env, args...)
	wait = started(t, cmd)
	time.Sleep(rand.N(500 * time.Millisecond)) // any moment is as good as another: nothing waits for this
	signal := []os.Signal{os.Interrupt, syscall.SIGTERM}[rand.IntN(2)]
	_ = cmd.Process.Signal(signal) // it may have ended
	return wait
}

// temporary returns what programs leave of a write that was cut off.
func temporary(t *testing.T, dir string) (left []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if name := e.Name(); strings.HasPrefix(name, ".") || strings.Contains(name, "hsmmirror-demo") || strings.Contains(name, "tmp-") {
			left = append(left, path)
		}
		return err
	}))
	return left
}
