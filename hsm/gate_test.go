package hsm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stay is a call that comes out after d.
func stay(t *testing.T, g *gate, d time.Duration) {
	require.NoError(t, g.enter(t.Context()))
	go func() {
		time.Sleep(d)
		g.leave()
	}()
}

// within is a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestGateLetsOneInAloneWhenTheCallsHaveComeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		start := time.Now()
		stay(t, &g, 300*time.Millisecond)
		stay(t, &g, 700*time.Millisecond)
		require.True(t, g.lock(within(t, 10*time.Second)))
		require.Equal(t, 700*time.Millisecond, time.Since(start))
		require.Zero(t, g.inside)

		entered := make(chan time.Time)
		go func() {
			_ = g.enter(context.Background())
			entered <- time.Now()
		}()
		time.Sleep(time.Minute)
		opened := time.Now()
		g.unlock()
		require.Equal(t, opened, <-entered, "calls get in as soon as it opens")
	})
}

func TestGateIsNotKeptByTrafficThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 4 { // at any time some are inside
			go func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				for g.enter(ctx) == nil {
					time.Sleep(400 * time.Millisecond)
					g.leave()
				}
			}()
		}
		time.Sleep(time.Second)
		start := time.Now()
		require.True(t, g.lock(within(t, 10*time.Second)))
		require.LessOrEqual(t, time.Since(start), 400*time.Millisecond)
		cancel()
		synctest.Wait()
		g.unlock()
	})
}

func TestGateIsNotShutByACallThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		require.NoError(t, g.enter(t.Context()))
		start := time.Now()
		gaveUp := make(chan bool)
		go func() { gaveUp <- !g.lock(within(t, 10*time.Second)) }()
		synctest.Wait()
		for range 5 {
			before := time.Now()
			require.NoError(t, g.enter(t.Context()))
			require.LessOrEqual(t, time.Since(before), gateRound)
			g.leave()
			time.Sleep(gatePause)
			synctest.Wait()
		}
		require.True(t, <-gaveUp)
		require.LessOrEqual(t, time.Since(start), 10*time.Second)
		g.leave()
		require.True(t, g.lock(within(t, 0)), "it can be had once the call has come out")
	})
}

func TestACallDoesNotWaitAtTheGateWithoutItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		require.True(t, g.lock(within(t, 0)))
		require.ErrorIs(t, g.enter(within(t, time.Second)), context.DeadlineExceeded)
		require.False(t, g.lock(within(t, 5*time.Second)), "nor does a second one that wants to be alone")
		g.unlock()
		require.True(t, g.lock(within(t, 5*time.Second)))
	})
}
