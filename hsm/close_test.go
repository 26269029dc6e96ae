//go:build cgo

package hsm

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// settles waits until no more goroutines run than before. The condition has one of its own.
func settles(t *testing.T, before int) {
	t.Helper()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, recovery, 10*time.Millisecond, "goroutines are left behind")
}

func TestCloseWhileCallsAreInFlight(t *testing.T) {
	before := runtime.NumGoroutine()
	token, err := Open(context.Background(), configFor(t, sharedToken))
	require.NoError(t, err)
	u := newUser(t, token)
	ends := make(chan error, 16)
	var started sync.WaitGroup
	started.Add(cap(ends))
	for i := range cap(ends) {
		call := []func(context.Context) error{u.sign, u.read, token.Health}[i%3]
		go func() {
			err := call(context.Background())
			started.Done()
			for err == nil {
				err = call(context.Background())
			}
			ends <- err
		}()
	}
	started.Wait()
	require.NoError(t, token.Close())
	for range cap(ends) {
		require.ErrorIs(t, <-ends, provider.ErrClosed, "a call is answered, or told that it came too late")
	}
	settles(t, before)
}

func TestCloseWhileAKeyIsMade(t *testing.T) {
	ctx := context.Background()
	token, err := Open(ctx, configFor(t, sharedToken))
	require.NoError(t, err)
	spec, err := provider.KeySpec{Alg: provider.ECDSAP256SHA256}.Normalize()
	require.NoError(t, err)
	claimed, made := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := token.first(ctx, spec, record{}, func(ctx context.Context, r record) error {
			close(claimed)
			for !token.closed.Load() {
				runtime.Gosched()
			}
			return token.generate(ctx, r)
		})
		made <- err
	}()
	<-claimed
	require.NoError(t, token.Close())
	require.ErrorIs(t, <-made, provider.ErrClosed)
	require.Empty(t, objectsOf(t, open(t, sharedToken), spec.KID), "nothing half-done stays")
}

func TestCloseWhileACallIsStuck(t *testing.T) {
	other := newUser(t, open(t, otherToken))
	before, opened := runtime.NumGoroutine(), sessions(t, other.token)
	cfg := configFor(t, sharedToken)
	cfg.Timeout = time.Second
	token, err := Open(context.Background(), cfg)
	require.NoError(t, err)
	release := occupy(t, token, time.Minute)
	defer release()
	err = token.Close()
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.ErrorContains(t, err, "has not come back within 2s")
	require.NoError(t, other.sign(context.Background()), "the module serves the others")

	late, err := New(cfg)
	require.NoError(t, err)
	require.ErrorIs(t, late.Health(context.Background()), provider.ErrUnavailable, "it takes no new ones")
	require.NoError(t, late.Close(), "and those have nothing to wait for")

	release()
	settles(t, before)
	require.Equal(t, opened, sessions(t, other.token))
}

func TestCloseWhileATokenIsAway(t *testing.T) {
	before := runtime.NumGoroutine()
	h := takeAway(t)
	token, err := New(configFor(t, sharedToken))
	require.NoError(t, err)
	require.ErrorIs(t, token.Health(context.Background()), provider.ErrUnavailable)
	require.NoError(t, token.Close(), "the recovery ends with it")
	settles(t, before)
	require.NoError(t, h.Restore())
}

func TestCloseBeforeTheFirstCall(t *testing.T) {
	before := runtime.NumGoroutine()
	token, err := New(configFor(t, sharedToken))
	require.NoError(t, err)
	require.NoError(t, token.Close())
	require.ErrorIs(t, token.Health(context.Background()), provider.ErrClosed)
	settles(t, before)
}

func TestUseAfterCloseOfWhatTheContractDoesNotKnow(t *testing.T) {
	ctx := context.Background()
	token, err := Open(ctx, configFor(t, sharedToken))
	require.NoError(t, err)
	require.NoError(t, token.Close())
	tests := []struct {
		name string
		call func() error
	}{
		{"Info", func() error { _, err := token.Info(ctx); return err }},
		{"Adopt", func() error { _, err := token.Adopt(ctx, Adoption{Label: "any"}); return err }},
		{"KeyByURI", func() error { _, err := token.KeyByURI(ctx, "pkcs11:object=any"); return err }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorIs(t, tt.call(), provider.ErrClosed)
		})
	}
}
