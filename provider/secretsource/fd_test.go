//go:build unix

package secretsource

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hsmmirror/hsmmirror/provider"
)

func dup(t *testing.T, f *os.File) int {
	t.Helper()
	conn, err := f.SyscallConn()
	require.NoError(t, err)
	n, dupErr := -1, error(nil)
	require.NoError(t, conn.Control(func(fd uintptr) { n, dupErr = unix.Dup(int(fd)) }))
	require.NoError(t, dupErr)
	return n
}

func TestFDReadsToTheEndOnceAndCloses(t *testing.T) {
	n, w := pipe(t)
	go func() {
		defer w.Close()
		w.WriteString(pin[:5]) // in two parts
		w.WriteString(pin[5:] + "\n")
	}()
	source, err := Parse(spec("fd", n))
	require.NoError(t, err)
	for range 2 { // a second login needs the secret again
		secret, err := source(t.Context())
		require.NoError(t, err)
		require.Equal(t, pin, string(secret.Expose()))
		secret.Wipe()
	}
	require.ErrorIs(t, unix.Fstat(n, &unix.Stat_t{}), unix.EBADF, "not closed")
}

func TestFDReadsAFile(t *testing.T) {
	f, err := os.Open(write(t, pin, 0o600))
	require.NoError(t, err)
	defer f.Close()
	got, err := get(t, spec("fd", dup(t, f)))
	require.NoError(t, err)
	require.Equal(t, pin, got)
}

func TestFDEndsWithTheContextAndStaysEnded(t *testing.T) {
	n, w := pipe(t)
	w.WriteString(pin) // and no end
	source := FD(n)
	ctx, cancel := context.WithCancel(t.Context())
	cancelWhenEmpty(t, n, cancel) // an earlier end would leave the descriptor to the next call
	_, err := source(ctx)
	require.Equal(t, context.Canceled, err)

	_, err = source(t.Context())
	require.ErrorIs(t, err, provider.ErrAuth)
	require.NotErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "broken off")
}

// cancelWhenEmpty cancels, in the background, when all that was written to a pipe has been read.
func cancelWhenEmpty(t *testing.T, n int, cancel context.CancelFunc) {
	t.Helper()
	own, err := unix.Dup(n) // n is about to be closed
	require.NoError(t, err)
	go func() {
		defer cancel()
		defer unix.Close(own)
		for {
			ready, err := unix.Poll([]unix.PollFd{{Fd: int32(own), Events: unix.POLLIN}}, 0)
			if ready == 0 && err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
}

func TestFDRefusals(t *testing.T) {
	t.Run("too long, from a writer that never ends", func(t *testing.T) {
		n, w := pipe(t)
		go w.WriteString(strings.Repeat("x", 1<<16))
		_, err := get(t, spec("fd", n))
		require.ErrorIs(t, err, provider.ErrAuth)
		require.ErrorContains(t, err, "holds more than 4096 bytes")
	})
	t.Run("empty", func(t *testing.T) {
		n, w := pipe(t)
		w.Close()
		_, err := get(t, spec("fd", n))
		require.ErrorIs(t, err, provider.ErrAuth)
		require.ErrorContains(t, err, "is empty")
	})
	t.Run("not open", func(t *testing.T) {
		_, err := get(t, "fd:987")
		require.EqualError(t, err, "authentication refused: file descriptor 987 is not open")
	})
	t.Run("a directory", func(t *testing.T) {
		f, err := os.Open(t.TempDir())
		require.NoError(t, err)
		defer f.Close()
		_, err = get(t, spec("fd", dup(t, f)))
		require.ErrorIs(t, err, provider.ErrAuth)
		require.ErrorContains(t, err, "is no file, pipe, socket or terminal")
	})
}
