//go:build cgo

package hsm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

// What SoftHSM2 2.6.1 leaves of a process that is killed when it has made an object's file and written no more than its generation.
func TestAnEmptyObjectIsTidiedAway(t *testing.T) { testEmptyObject(t, ".object", ".lock") }

// SoftHSM2 removes it, and answers CKR_FUNCTION_FAILED.
func TestAnEmptyObjectWithoutItsLockFileIsTidiedAway(t *testing.T) { testEmptyObject(t, ".object") }

func testEmptyObject(t *testing.T, files ...string) {
	cfg := configFor(t, sharedToken)
	before, err := InspectObjects(t.Context(), cfg, nil)
	require.NoError(t, err)
	dirs, err := filepath.Glob(filepath.Join(softhsmtest.Get(t).TokenDir(), "*"))
	require.NoError(t, err)
	dirs = slices.DeleteFunc(dirs, func(dir string) bool {
		return !strings.HasSuffix(strings.ReplaceAll(dir, "-", ""), before.Token.Serial)
	})
	require.Len(t, dirs, 1)
	name := filepath.Join(dirs[0], "00000000-0000-0000-0000-000000000001")
	for _, ending := range files {
		require.NoError(t, os.WriteFile(name+ending, []byte{0, 0, 0, 0, 0, 0, 0, 1}, 0o600))
		t.Cleanup(func() { _ = os.Remove(name + ending) })
	}

	seen, err := InspectObjects(t.Context(), cfg, nil)
	require.NoError(t, err)
	require.Len(t, seen.Objects, len(before.Objects)+1)
	empty := func(o ObjectInfo) bool { return o.Class == "unknown" }
	i := slices.IndexFunc(seen.Objects, empty)
	require.GreaterOrEqual(t, i, 0)
	require.Equal(t, StatusHalf, seen.Objects[i].Status)

	token := open(t, sharedToken)
	_, err = token.ListKeys(t.Context())
	require.NoError(t, err, "it keeps nobody from the keys")
	_, err = token.Tidy(t.Context(), 0)
	require.NoError(t, err)
	require.NoError(t, token.Close())
	after, err := InspectObjects(t.Context(), cfg, nil)
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(after.Objects, empty))
}
