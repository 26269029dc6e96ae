//go:build cgo && unix

package hsm

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/provider"
)

// What hangs, hangs until the test releases it. So a call that returns has not waited for the module.

func TestACallThatHangsGivesItsCallerBack(t *testing.T) {
	f := openFaulty(t, hanging)
	u := newUser(t, f.Token)
	hang := f.m.On("C_Sign").Hang()
	require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
	require.Equal(t, 1, hang.Waiting())
	hang.Release()
	comesBack(t, u.sign)
}

func TestACallerWhoIsInAHurryIsNotHeld(t *testing.T) {
	f := openFaulty(t, func(c *Config) { c.Timeout = time.Hour })
	u := newUser(t, f.Token)
	hang := f.m.On("C_Sign").Hang()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := u.sign(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, provider.ErrUnavailable, "the caller's own deadline is no outage")
	hang.Release()
	require.NoError(t, u.sign(context.Background()))
}

// down waits until the token is known to be away.
func down(t *testing.T, u user) {
	t.Helper()
	soon(t, func() bool { return provider.IsOutage(u.read(context.Background())) }, "the outage is not noticed")
}

func TestWhileATokenHangsCallsFailAtOnce(t *testing.T) {
	const later = 10_000 // each within the time limit would take hours
	f := openFaulty(t, hanging)
	u := newUser(t, f.Token)
	hang := f.m.On().Hang()
	start := time.Now()
	require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
	t.Logf("the first caller was back after %v of %v", time.Since(start), f.cfg.Timeout)
	down(t, u)
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	start = time.Now()
	for range later {
		require.ErrorIs(t, u.sign(ctx), provider.ErrUnavailable)
		require.ErrorIs(t, u.read(ctx), provider.ErrUnavailable)
	}
	require.NoError(t, ctx.Err())
	t.Logf("later ones after %v", time.Since(start)/(2*later))
	require.Positive(t, hang.Waiting(), "it still hangs")
	start = time.Now()
	hang.Release()
	comesBack(t, u.sign)
	comesBack(t, u.read)
	t.Logf("it signs again %v after the token has come back", time.Since(start))
}

func TestATokenThatHangsHoldsNoMoreThreadsThanThePoolHasSessions(t *testing.T) {
	const sessions = 4
	for _, tt := range []struct {
		name      string
		functions []string
		most      int
	}{
		{"one function hangs", []string{"C_Sign"}, sessions},
		{"every function hangs", nil, sessions + 1}, // one thread looks whether the token is there
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := openFaulty(t, func(c *Config) { c.Sessions, c.Timeout = sessions, time.Second })
			u := newUser(t, f.Token)
			hang := f.m.On(tt.functions...).Hang()
			f.m.ResetMost()
			for range 4 {
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						if err := u.sign(context.Background()); !provider.IsOutage(err) {
							t.Errorf("want ErrUnavailable: %v", err)
						}
					})
				}
				wg.Wait()
			}
			require.LessOrEqual(t, hang.Waiting(), tt.most)
			require.LessOrEqual(t, f.m.MostInside(), sessions+1)
			hang.Release()
			comesBack(t, u.sign)
		})
	}
}

func TestATokenThatHangsAgainAndAgain(t *testing.T) {
	f := openFaulty(t, func(c *Config) { c.Sessions, c.Timeout = 2, time.Second })
	u := newUser(t, f.Token)
	for _, release := range []func(*faultmodule.Fault){
		(*faultmodule.Fault).Release,
		func(h *faultmodule.Fault) { h.ReleaseWith(pkcs11.CKR_DEVICE_ERROR) },
		func(h *faultmodule.Fault) { h.ReleaseWith(pkcs11.CKR_SESSION_HANDLE_INVALID) },
		(*faultmodule.Fault).Release,
	} {
		hang := f.m.On().Hang()
		require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
		require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
		release(hang)
		comesBack(t, u.sign)
	}
}

func TestATokenIsClosedWhileACallHangs(t *testing.T) {
	f := openFaulty(t, hanging)
	u := newUser(t, f.Token)
	hang := f.m.On("C_Sign").Hang()
	require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
	before := f.m.Calls()["C_Finalize"]
	require.ErrorIs(t, f.Close(), provider.ErrUnavailable)
	require.Equal(t, 1, hang.Waiting(), "Close has not waited for the call")
	require.ErrorIs(t, u.sign(context.Background()), provider.ErrClosed)
	require.Equal(t, before, f.m.Calls()["C_Finalize"])
	hang.Release()
	soon(t, func() bool { return f.m.Calls()["C_Finalize"] > before }, "the module is not finalised")
}

func TestATokenIsClosedWhileItsOutageIsKnownAndACallHangs(t *testing.T) {
	f := openFaulty(t, hanging)
	u := newUser(t, f.Token)
	hang := f.m.On().Hang()
	require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
	down(t, u)
	require.ErrorIs(t, f.Close(), provider.ErrUnavailable)
	require.Positive(t, hang.Waiting(), "Close has not waited for the call")
}

// A Token connects at its first call, and any step of that may hang.
func TestAConnectionThatHangs(t *testing.T) {
	for _, function := range []string{"C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login"} {
		t.Run(function, func(t *testing.T) {
			f := newFaulty(t, hanging)
			hang := f.m.On(function).Hang()
			for range 3 {
				require.ErrorIs(t, f.Health(context.Background()), provider.ErrUnavailable)
			}
			require.Equal(t, 1, hang.Waiting(), "one thread, however many callers")
			hang.Release()
			comesBack(t, f.Health)
		})
	}
}

// Closing is not held up either, and what hangs is cleared away when it comes back.
func TestATokenIsClosedWhileItsConnectionHangs(t *testing.T) {
	for _, function := range []string{"C_Initialize", "C_OpenSession", "C_Login"} {
		t.Run(function, func(t *testing.T) {
			f := newFaulty(t, hanging)
			hang := f.m.On(function).Hang()
			require.ErrorIs(t, f.Health(context.Background()), provider.ErrUnavailable)
			require.ErrorIs(t, f.Close(), provider.ErrUnavailable)
			require.Equal(t, 1, hang.Waiting())
		})
	}
}
