//go:build cgo

package hsm

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// A token that is gone has its module restarted under the tokens that are well.
func TestATokenThatIsWellDoesNotFeelRestarts(t *testing.T) {
	ctx := context.Background()
	u := newUser(t, open(t, otherToken))
	lib := u.token.link.(*conn).lib
	for _, tt := range []struct {
		name string
		call func() error
	}{
		{"a signature", func() error { return u.sign(ctx) }},
		{"a read after a random byte", func() error {
			if _, err := u.token.RandomBytes(ctx, 1); err != nil {
				return err
			}
			return u.read(ctx)
		}},
		{"a look-up of a key that is not there", func() error {
			_, err := u.token.GetKey(ctx, "nobody", 0)
			if provider.IsOutage(err) {
				return err
			}
			return nil
		}},
		{"an enumeration", func() error { return u.token.enumerate(ctx) }},
		{"the health", func() error { return u.token.Health(ctx) }},
		{"random bytes", func() error { _, err := u.token.RandomBytes(ctx, 8); return err }},
		{"a key's whole life", func() error { return liveAndDie(ctx, u.token) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stop := make(chan struct{})
			var restarts sync.WaitGroup
			defer restarts.Wait()
			defer close(stop)
			epoch := u.token.link.epoch()
			restarts.Go(func() {
				life := 30 * time.Millisecond // of a connection; it grows, or else a busy machine would end none of its calls in time
				for last := uint64(0); ; {
					select {
					case <-stop:
						return
					case <-time.After(life):
					}
					if connected := u.token.link.epoch(); connected != 0 && connected != last { // a busy machine takes longer
						last = connected
						life += life / 2
						for range 2 { // as startAfresh does
							_ = lib.end(ctx, lib.current(ctx))
						}
					}
				}
			})
			for start := time.Now(); u.token.link.epoch() < epoch+6; {
				require.NoError(t, tt.call())
				require.Less(t, time.Since(start), recovery)
			}
		})
	}
}

// liveAndDie makes a key, and destroys it.
func liveAndDie(ctx context.Context, token *Token) error {
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	if err != nil {
		return err
	}
	if _, err := token.RotateKey(ctx, ref.KID, provider.Rotation{}); err != nil {
		return err
	}
	_, err = token.DestroyKey(ctx, ref.KID, provider.AllVersions)
	return err
}

// current returns the epoch.
func (l *library) current(ctx context.Context) uint64 {
	if l.gate.enter(ctx) != nil {
		return 0
	}
	defer l.gate.leave()
	return l.epoch
}
