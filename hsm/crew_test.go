//go:build cgo

package hsm

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// grounded is a connection to no module, on which calls can be made nevertheless.
func grounded() (*conn, *member) {
	c := &conn{cfg: Config{Label: "grounded"}, lib: &library{members: map[*conn]*member{}}, changed: make(chan struct{})}
	m := &member{slots: make(chan struct{}, 4)}
	c.lib.members[c] = m
	return c, m
}

// fly makes a call with a time limit of its own.
func fly(ctx context.Context, c *conn, m *member, limit time.Duration, call func()) error {
	l := withLimit(ctx, limit)
	defer l.end()
	return c.fly(l, m, func(*member) error { call(); return nil }, false)
}

func stuck(c *conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stuck
}

func TestOnePilotMakesOneCallAfterTheOther(t *testing.T) {
	c, m := grounded()
	defer c.crew.dismiss()
	for range 1000 {
		require.NoError(t, fly(t.Context(), c, m, time.Minute, func() {}))
	}
	require.Len(t, c.crew.pilots, 1)
}

func TestThereAreAsManyPilotsAsCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := grounded()
		for range 10 {
			release := make(chan struct{})
			var calls sync.WaitGroup
			for range 4 {
				calls.Go(func() { _ = fly(context.Background(), c, m, time.Minute, func() { <-release }) })
			}
			synctest.Wait()
			close(release)
			calls.Wait()
		}
		require.Len(t, c.crew.pilots, 4)
		require.Len(t, c.crew.idle, 4)
		c.crew.dismiss() // or else the bubble never ends
	})
}

func TestEachCallerLeavesAtItsTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := grounded()
		release := make(chan struct{})
		start := time.Now()
		var callers sync.WaitGroup
		for _, limit := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second, time.Second} {
			callers.Go(func() {
				err := fly(context.Background(), c, m, limit, func() { <-release })
				require.ErrorIs(t, err, provider.ErrUnavailable)
				require.ErrorIs(t, err, timeLimit(limit))
				require.Equal(t, limit, time.Since(start))
			})
		}
		callers.Wait()
		require.Equal(t, 4, stuck(c))

		close(release)
		synctest.Wait()
		require.Zero(t, stuck(c))
		require.Len(t, c.crew.idle, 4, "pilots that are back are used again")
		require.NoError(t, fly(context.Background(), c, m, time.Second, func() {}))
		c.crew.dismiss()
	})
}

// The timer of an operation's context and the crew's alarm are two. What hangs must not pass for done in the moment between them.
func TestTheTimeLimitIsNoSuccessBeforeTheContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := grounded()
		release := make(chan struct{})
		l := withLimit(context.Background(), time.Hour)
		l.Done() // has a timer from here on, as after a wait for a session or for the module
		l.until = time.Now().Add(time.Second)
		err := c.fly(l, m, func(*member) error { <-release; return nil }, false)
		require.ErrorIs(t, err, provider.ErrUnavailable)
		require.ErrorIs(t, err, timeLimit(time.Hour))
		l.end()
		close(release)
		synctest.Wait()
		c.crew.dismiss()
	})
}

func TestACallerLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := grounded()
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		require.ErrorIs(t, fly(ctx, c, m, time.Minute, func() { <-release }), context.Canceled)
		require.Zero(t, stuck(c), "it has time left")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, stuck(c))
		close(release)
		synctest.Wait()
		require.Zero(t, stuck(c))
		c.crew.dismiss()
	})
}

// A process that was stopped finds all time limits passed, and its calls about to return.
func TestAStoppedProcessBlamesNoToken(t *testing.T) {
	for name, tt := range map[string]struct {
		takes, back time.Duration
		err         error
	}{
		"whose call returns at once": {grace / 2, grace / 2, nil},
		"whose call hangs":           {time.Hour, grace, provider.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := grounded()
				start := time.Now()
				require.ErrorIs(t, fly(t.Context(), c, m, -time.Minute, func() { time.Sleep(tt.takes) }), tt.err)
				require.Equal(t, tt.back, time.Since(start))
				time.Sleep(tt.takes)
				c.crew.dismiss()
			})
		})
	}
}

func TestADismissedCrewEndsWithItsLastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine stays
		c, m := grounded()
		release := make(chan struct{})
		var calls sync.WaitGroup
		calls.Go(func() { _ = fly(context.Background(), c, m, time.Minute, func() { <-release }) })
		calls.Go(func() { _ = fly(context.Background(), c, m, time.Minute, func() {}) })
		synctest.Wait()
		c.crew.dismiss()
		close(release)
		calls.Wait()
		require.NoError(t, fly(context.Background(), c, m, time.Minute, func() {}), "one that comes later is made too")
	})
}
