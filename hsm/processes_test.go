//go:build cgo

package hsm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// childEnv holds what a second process of the test binary shall do, as JSON.
const childEnv = "HSMMIRROR_HSM_TEST_CHILD"

// childTask makes a child rotate a key, or create it, several times, and print what it was given.
type childTask struct {
	Module, Label, KID string
	Rotations          int
	Create             bool
	ShowFile           bool // of the module
}

// child is the second process. Its PIN comes on standard input.
func child() int {
	var task childTask
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &task); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx := context.Background()
	token, err := Open(ctx, Config{Module: task.Module, Label: task.Label, PIN: func(context.Context) (provider.Secret, error) {
		var pin string
		_, err := fmt.Fscan(os.Stdin, &pin)
		return provider.NewSecret([]byte(pin)), err
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if task.ShowFile {
		fmt.Println("file", token.link.(*conn).lib.path)
	}
	if task.Create {
		report(token.CreateKey(ctx, provider.KeySpec{KID: task.KID, Alg: provider.ECDSAP256SHA256}))
	}
	for range task.Rotations {
		report(token.RotateKey(ctx, task.KID, provider.Rotation{}))
	}
	if err := token.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func report(ref provider.KeyRef, err error) {
	switch {
	case err == nil:
		fmt.Println("made", ref.Version, ref.Fingerprint)
	case errors.Is(err, provider.ErrExists):
		fmt.Println("exists")
	case errors.Is(err, provider.ErrUnavailable):
		fmt.Println("unavailable")
	default:
		fmt.Println("error", err)
	}
}

// runChildren runs n children side by side and returns the lines that they print.
func runChildren(t *testing.T, n int, task childTask) []string {
	t.Helper()
	task.Module, task.Label = cmp.Or(task.Module, softhsmtest.Get(t).Module), sharedToken
	pin, err := softhsmtest.Token(t, sharedToken).PINSource()(context.Background())
	require.NoError(t, err)
	text, err := json.Marshal(task)
	require.NoError(t, err)
	binary, err := os.Executable()
	require.NoError(t, err)
	var wg sync.WaitGroup
	outputs := make([]bytes.Buffer, n)
	for i := range n {
		wg.Go(func() {
			cmd := exec.Command(binary)
			cmd.Env = append(os.Environ(), childEnv+"="+string(text))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(pin.Expose()), &outputs[i], &outputs[i]
			if err := cmd.Run(); err != nil {
				fmt.Fprintln(&outputs[i], "error", err)
			}
		})
	}
	wg.Wait()
	var lines []string
	for i := range outputs {
		lines = append(lines, strings.Split(strings.TrimSpace(outputs[i].String()), "\n")...)
	}
	return lines
}

func TestProcessesNeverShareAVersion(t *testing.T) { // the original's F06: versions given out twice, returned keys lost
	ctx := context.Background()
	ref, err := open(t, sharedToken).CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	made := map[string]string{"1": ref.Fingerprint}
	for _, line := range runChildren(t, 3, childTask{KID: ref.KID, Rotations: 8}) {
		f := strings.Fields(line)
		if line == "unavailable" { // each other's claims were in the way, and the caller was told
			continue
		}
		require.Equal(t, "made", f[0], line)
		require.Empty(t, made[f[1]], "version %s was made twice", f[1])
		made[f[1]] = f[2]
	}
	require.Greater(t, len(made), 8)
	list, err := open(t, sharedToken).ListVersions(ctx, ref.KID)
	require.NoError(t, err)
	require.Empty(t, list.Problems)
	require.Len(t, list.Keys, len(made), "what was acknowledged is there, and nothing else")
	for _, got := range list.Keys {
		require.Equal(t, made[fmt.Sprint(got.Version)], got.Fingerprint)
	}
}

func TestOneOfSeveralProcessesCreatesAKID(t *testing.T) {
	kid := provider.NewKID()
	made := 0
	for _, line := range runChildren(t, 3, childTask{KID: kid, Create: true}) {
		if strings.HasPrefix(line, "made ") {
			made++
			continue
		}
		require.Contains(t, []string{"exists", "unavailable"}, line)
	}
	require.Equal(t, 1, made)
	list, err := open(t, sharedToken).ListVersions(context.Background(), kid)
	require.NoError(t, err)
	require.Len(t, list.Keys, 1)
}

// A module that the dynamic linker searches for is the same, and takes the same lock, as under its path.
func TestAModuleIsFoundByTheLinker(t *testing.T) {
	file, err := filepath.EvalSymlinks(softhsmtest.Get(t).Module)
	require.NoError(t, err)
	t.Setenv("LD_LIBRARY_PATH", filepath.Dir(file)) // read when a process starts
	lines := runChildren(t, 1, childTask{Module: filepath.Base(file), KID: provider.NewKID(), Create: true, ShowFile: true})
	require.Len(t, lines, 2, lines)
	require.Equal(t, "file "+file, lines[0])
	require.True(t, strings.HasPrefix(lines[1], "made 1 "), lines[1])
}
