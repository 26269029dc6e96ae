//go:build cgo

package hsm

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// recovery is how long a token that is back may take to serve again: the first attempts fail while it is away, and the wait
// before the next one grows.
const recovery = 20 * time.Second

// comesBack waits until call succeeds. Until then it may fail as unavailable, and in no other way.
func comesBack(t *testing.T, call func(context.Context) error) {
	t.Helper()
	for end := time.Now().Add(recovery); ; time.Sleep(10 * time.Millisecond) {
		err := call(context.Background())
		if err == nil {
			return
		}
		require.ErrorIs(t, err, provider.ErrUnavailable)
		require.True(t, time.Now().Before(end), "still away: %v", err)
	}
}

func TestTokenTakenAwayUnderLoad(t *testing.T) {
	before := runtime.NumGoroutine()
	u := newUser(t, open(t, sharedToken))
	var failed, other atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 8 {
		call := []func(context.Context) error{u.sign, u.sign, u.sign, u.read}[i%4]
		wg.Go(func() {
			for ctx.Err() == nil {
				switch err := call(context.Background()); {
				case provider.IsOutage(err):
					failed.Add(1)
					time.Sleep(time.Millisecond)
				case err != nil:
					other.Add(1)
					t.Errorf("want success or ErrUnavailable: %v", err)
				}
			}
		})
	}
	for range 3 {
		h := takeAway(t)
		was := failed.Load()
		require.Eventually(t, func() bool { return failed.Load() > was+100 }, recovery, time.Millisecond)
		require.NoError(t, h.Restore())
		comesBack(t, u.sign)
		comesBack(t, u.read)
	}
	cancel()
	wg.Wait()
	require.NoError(t, u.sign(context.Background()))
	require.NoError(t, u.token.Close())
	settles(t, before)
}

func TestATokenThatIsAwayAtTheStart(t *testing.T) {
	ref := newUser(t, open(t, sharedToken)).jwk.Ref()
	for _, tt := range []struct {
		name string
		call func(context.Context, *Token) error
	}{
		{"a read", func(ctx context.Context, token *Token) error { _, err := token.GetKey(ctx, ref.KID, 0); return err }},
		{"random bytes", func(ctx context.Context, token *Token) error { _, err := token.RandomBytes(ctx, 8); return err }},
		{"the health", func(ctx context.Context, token *Token) error { return token.Health(ctx) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := takeAway(t)
			_, err := Open(context.Background(), configFor(t, sharedToken))
			require.ErrorIs(t, err, provider.ErrUnavailable)
			token, err := New(configFor(t, sharedToken))
			require.NoError(t, err)
			defer func() { require.NoError(t, token.Close()) }()
			require.ErrorIs(t, tt.call(context.Background(), token), provider.ErrUnavailable)
			require.NoError(t, h.Restore())
			comesBack(t, func(ctx context.Context) error { return tt.call(ctx, token) })
		})
	}
}

func TestEveryCallNoticesThatTheTokenIsAway(t *testing.T) {
	ctx := context.Background()
	u := newUser(t, open(t, sharedToken))
	ref := u.jwk.Ref()
	for _, tt := range []struct {
		name string
		call func(*Token) error
	}{
		{"Health", func(token *Token) error { return token.Health(ctx) }},
		{"RandomBytes", func(token *Token) error { _, err := token.RandomBytes(ctx, 8); return err }},
		{"GetKey of a key that is there", func(token *Token) error { _, err := token.GetKey(ctx, ref.KID, 1); return err }},
		{"GetKey of a key that is not", func(token *Token) error { _, err := token.GetKey(ctx, "nobody", 0); return err }},
		{"ListKeys", func(token *Token) error { _, err := token.ListKeys(ctx); return err }},
		{"CreateKey", func(token *Token) error {
			_, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.Ed25519})
			return err
		}},
		{"RotateKey", func(token *Token) error { _, err := token.RotateKey(ctx, ref.KID, provider.Rotation{}); return err }},
		{"DestroyKey", func(token *Token) error { _, err := token.DestroyKey(ctx, ref.KID, 1); return err }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := open(t, sharedToken)
			h := takeAway(t)
			require.ErrorIs(t, tt.call(token), provider.ErrUnavailable)
			require.NoError(t, h.Restore())
			comesBack(t, token.Health)
		})
	}
	comesBack(t, u.sign)
}

func TestTwoTokensOfAModuleThatGoesAway(t *testing.T) {
	for _, labels := range [][2]string{{sharedToken, otherToken}, {sharedToken, sharedToken}} {
		t.Run(labels[0]+" and "+labels[1], func(t *testing.T) {
			before := runtime.NumGoroutine()
			users := [2]user{newUser(t, open(t, labels[0])), newUser(t, open(t, labels[1]))}
			for range 2 {
				h := takeAway(t)
				for _, u := range users {
					require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
				}
				require.NoError(t, h.Restore())
				for _, u := range users {
					comesBack(t, u.sign)
				}
				for _, u := range users { // also after the other one has connected
					comesBack(t, u.sign)
					comesBack(t, u.read)
				}
			}
			for _, u := range users {
				require.NoError(t, u.token.Close())
			}
			settles(t, before)
		})
	}
}

// takeOneAway removes the storage of one token, which SoftHSM2 keeps in a directory whose name ends in the serial number.
func takeOneAway(t *testing.T, token *Token) (restore func()) {
	t.Helper()
	info, err := token.Info(context.Background())
	require.NoError(t, err)
	dir := softhsmtest.Get(t).TokenDir()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(strings.ReplaceAll(e.Name(), "-", ""), info.Serial) {
			here, away := filepath.Join(dir, e.Name()), dir+".one"
			require.NoError(t, os.Rename(here, away))
			restore = sync.OnceFunc(func() { require.NoError(t, os.Rename(away, here)) })
			t.Cleanup(restore)
			return restore
		}
	}
	t.Fatalf("no directory for serial %s", info.Serial)
	return nil
}

func TestATokenComesBackBesideOneThatIsWell(t *testing.T) {
	gone, well := newUser(t, open(t, sharedToken)), newUser(t, open(t, otherToken))
	restore := takeOneAway(t, gone.token)
	require.ErrorIs(t, gone.sign(context.Background()), provider.ErrUnavailable)
	require.Eventually(t, func() bool {
		return provider.IsOutage(gone.read(context.Background()))
	}, recovery, time.Millisecond, "the check that follows the failed call finds it gone")
	epoch := well.token.link.epoch()
	for start := time.Now(); well.token.link.epoch() <= epoch+1; time.Sleep(time.Millisecond) {
		require.NoError(t, well.sign(context.Background()), "it does not feel the restarts")
		require.ErrorIs(t, gone.read(context.Background()), provider.ErrUnavailable)
		require.Less(t, time.Since(start), recovery)
	}
	restore()
	comesBack(t, gone.sign)
	require.NoError(t, well.sign(context.Background()))
}

func TestAnErrorDuringAnOutageSaysThatItIsOne(t *testing.T) {
	token := open(t, sharedToken)
	u := newUser(t, token)
	h := takeAway(t)
	ctx := context.Background()
	require.Eventually(t, func() bool {
		return u.sign(ctx) != nil && token.Status().State != StateUp
	}, recovery, time.Millisecond)
	lost := token.Status()
	err := u.sign(ctx)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.ErrorContains(t, err, "connection lost at "+lost.Since.UTC().Format(time.RFC3339)+": ")
	require.NoError(t, h.Restore())
	comesBack(t, u.sign)
}
