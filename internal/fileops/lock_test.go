//go:build unix

package fileops

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const holderVariable = "FILEOPS_TEST_HOLD_LOCK_IN"

// TestMain runs the test binary as a process that holds a lock until it is killed, when it is told so.
func TestMain(m *testing.M) {
	path := os.Getenv(holderVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	d, err := Open(path, nil)
	if err == nil {
		_, err = d.Lock(context.Background(), "lock")
	}
	fmt.Println("held", err)
	select {}
}

func TestLockHasOneHolder(t *testing.T) {
	d, _ := open(t, nil)
	var wg sync.WaitGroup
	var holders, count atomic.Int32
	for range 8 {
		wg.Go(func() {
			for range 5 {
				unlock, err := d.Lock(t.Context(), "lock")
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				count.Add(1)
				holders.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 40, count.Load())
}

func TestLockWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := open(t, nil)
		unlock, err := d.Lock(t.Context(), "lock")
		require.NoError(t, err)
		defer unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = d.Lock(ctx, "lock")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, held, err := d.TryLock("lock")
		require.NoError(t, err)
		require.False(t, held)
	})
}

func TestADeadProcessHoldsNoLock(t *testing.T) {
	d, path := open(t, nil)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderVariable+"="+path)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held <nil>\n", line)

	_, held, err := d.TryLock("lock")
	require.NoError(t, err)
	require.False(t, held, "while the process lives")
	require.NoError(t, holder.Process.Kill())
	require.Error(t, holder.Wait())
	unlock, err := d.Lock(t.Context(), "lock")
	require.NoError(t, err)
	unlock()
}

func TestALockFileThatWasReplacedIsNoLock(t *testing.T) {
	d, path := open(t, nil)
	first, err := d.Lock(t.Context(), "lock")
	require.NoError(t, err)
	defer first()
	require.NoError(t, os.Remove(filepath.Join(path, "lock")))
	second, err := d.Lock(t.Context(), "lock")
	require.NoError(t, err)
	defer second()
	_, held, err := d.TryLock("lock")
	require.NoError(t, err)
	require.False(t, held)

	require.NoError(t, os.Remove(filepath.Join(path, "lock")))
	require.NoError(t, os.WriteFile(filepath.Join(path, "other"), nil, 0o600))
	require.NoError(t, os.Symlink("other", filepath.Join(path, "lock")))
	_, _, err = d.TryLock("lock")
	require.ErrorIs(t, err, ErrType)
}
