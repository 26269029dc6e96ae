//go:build cgo && unix

package hsm

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
)

// faultyToken is a Token on a module that fails on demand.
type faultyToken struct {
	*Token
	m *faultmodule.Module
}

// hanging gives its operations the short time limit of a test that has calls hang.
func hanging(c *Config) { c.Timeout = time.Second }

// newFaulty makes one that has not connected yet. At the end of the test, when no fault is left, it closes it and looks whether
// it leaves anything behind: a goroutine, a thread in the module, a session. C_Finalize must never have been called with another
// call inside the module.
func newFaulty(t testing.TB, change func(*Config)) faultyToken {
	t.Helper()
	m := faultmoduletest.New(t)
	forgetRefusals()
	before := runtime.NumGoroutine()
	token, err := New(faultyConfig(t, m, change))
	require.NoError(t, err)
	t.Cleanup(func() {
		m.Clear()
		forgetRefusals()
		require.NoError(t, token.Close())
		leavesNothing(t, m, before)
	})
	return faultyToken{token, m}
}

// openFaulty makes one that has connected.
func openFaulty(t testing.TB, change func(*Config)) faultyToken {
	t.Helper()
	f := newFaulty(t, change)
	soon(t, func() bool { return f.Health(context.Background()) == nil }, "it does not connect")
	return f
}

func faultyConfig(t testing.TB, m *faultmodule.Module, change func(*Config)) Config {
	t.Helper()
	cfg := configFor(t, faultToken)
	cfg.Module, cfg.RefreshAfter = m.Path, time.Hour
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// forgetRefusals makes the process forget which PINs were refused, for tests that have good ones refused.
func forgetRefusals() {
	pins.mu.Lock()
	defer pins.mu.Unlock()
	clear(pins.m)
}

// leavesNothing looks at what is left of the Tokens on a module when all are closed.
func leavesNothing(t testing.TB, m *faultmodule.Module, goroutines int) {
	t.Helper()
	soon(t, func() bool { return m.Inside() == 0 && m.Sessions() == 0 && runtime.NumGoroutine() <= goroutines+1 },
		"calls inside, sessions or goroutines are left behind")
	require.Zero(t, m.FinalizedInside(), "C_Finalize with another call inside")
}

// soon waits for what other goroutines or threads are about to do.
func soon(t testing.TB, done func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(recovery); !done(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), what)
	}
}
