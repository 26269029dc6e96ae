package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// command is hsmmirror as a process of its own, with nothing set in its environment but what is given.
func command(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("hsmmirror") // testscript.Main has put it there
	require.NoError(t, err)
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "NO_COLOR=1", "GORACE=atexit_sleep_ms=0"}, env...)
	return cmd
}

// result is what a process left.
type result struct {
	code        int // -1: a signal ended it
	out, stderr string
}

func (r result) String() string { return fmt.Sprintf("exit code %d, %q, %q", r.code, r.out, r.stderr) }

// started starts cmd; wait waits for its end.
func started(t testing.TB, cmd *exec.Cmd) (wait func() result) {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	require.NoError(t, cmd.Start())
	return func() result {
		t.Helper()
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			require.NoError(t, err)
		}
		require.NotContains(t, stderr.String(), "panic:")
		for line := range strings.Lines(stderr.String()) {
			require.True(t, strings.HasPrefix(line, "hsmmirror: "), line)
		}
		return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
	}
}

func ended(t testing.TB, env []string, args ...string) result {
	t.Helper()
	return started(t, command(t, env, args...))()
}

// succeeded is ended for what has to exit with 0.
func succeeded(t testing.TB, env []string, args ...string) string {
	t.Helper()
	r := ended(t, env, args...)
	require.Equal(t, exitDone, r.code, "%v: %v", args, r)
	return r.out
}
