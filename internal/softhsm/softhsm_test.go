package softhsm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// newHSM needs SoftHSM2 but no cgo: softhsm2-util is a program.
func newHSM(t *testing.T, labels ...string) *HSM {
	t.Helper()
	if _, err := Find(); err != nil && os.Getenv("HSMMIRROR_REQUIRE_SOFTHSM2") == "" {
		t.Skip(err)
	}
	h, err := New(t.Context(), t.TempDir(), labels...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// slots is what SoftHSM2 itself says of its tokens.
func slots(t *testing.T, h *HSM) string {
	t.Helper()
	cmd := exec.Command("softhsm2-util", "--show-slots", "--module", h.Module)
	cmd.Env = append(os.Environ(), h.Env())
	out, _ := cmd.CombinedOutput() // without tokens it fails, and says so
	return string(out)
}

func TestTokensStandWhereTheyAreAskedFor(t *testing.T) {
	h := newHSM(t, "first", "second one")
	require.Len(t, h.Tokens, 2)
	require.Regexp(t, `Label: +first`, slots(t, h))
	require.Regexp(t, `Label: +second one`, slots(t, h))
	require.NotEqual(t, h.Tokens[0].PIN.Expose(), h.Tokens[1].PIN.Expose())

	text, err := os.ReadFile(h.Tokens[1].PINFile)
	require.NoError(t, err)
	require.Equal(t, string(h.Tokens[1].PIN.Expose())+"\n", string(text))
}

func TestOthersCanReadNothing(t *testing.T) {
	h := newHSM(t, "demo")
	for path, want := range map[string]os.FileMode{h.TokenDir(): 0o700, h.dir: 0o700, h.Conf: 0o600, h.Tokens[0].PINFile: 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), path)
	}
}

func TestRemoveTakesTheTokensAwayAndRestoreBringsThemBack(t *testing.T) {
	h := newHSM(t, "demo")
	require.False(t, h.Removed())
	require.NoError(t, h.Remove())
	require.True(t, h.Removed())
	require.NotRegexp(t, `Label: +demo`, slots(t, h))
	require.Error(t, h.Remove(), "what is away can't be taken away again")

	require.NoError(t, h.Restore())
	require.Regexp(t, `Label: +demo`, slots(t, h))
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	for _, away := range []bool{false, true} {
		parent := t.TempDir()
		newHSM(t) // skips where SoftHSM2 is missing
		h, err := New(t.Context(), parent, "demo")
		require.NoError(t, err)
		if away {
			require.NoError(t, h.Remove())
		}
		require.NoError(t, h.Close())
		left, err := os.ReadDir(parent)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

func TestAFailedNewLeavesNothingBehind(t *testing.T) {
	newHSM(t) // skips where SoftHSM2 is missing
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := New(ctx, parent, "demo")
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestPINSourceSurvivesAWipe(t *testing.T) {
	h := newHSM(t, "demo")
	source := h.Tokens[0].PINSource()
	first, err := source(t.Context())
	require.NoError(t, err)
	first.Wipe()
	again, err := source(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, again.Expose())
}

func TestFind(t *testing.T) {
	t.Run("the environment names a module that is not there", func(t *testing.T) {
		t.Setenv(ModuleEnv, filepath.Join(t.TempDir(), "absent.so"))
		_, err := Find()
		require.ErrorIs(t, err, ErrMissing)
		require.ErrorContains(t, err, ModuleEnv)
	})
	t.Run("the environment wins", func(t *testing.T) {
		module := filepath.Join(t.TempDir(), "libsofthsm2.so")
		require.NoError(t, os.WriteFile(module, nil, 0o600))
		t.Setenv(ModuleEnv, module)
		found, err := Find()
		require.NoError(t, err)
		require.Equal(t, module, found)
	})
}

func TestTheConfigurationInTestdataIsTheEmbeddedOne(t *testing.T) {
	text, err := os.ReadFile("../../testdata/softhsm2.conf")
	require.NoError(t, err)
	require.Equal(t, confTemplate, string(text))
}
