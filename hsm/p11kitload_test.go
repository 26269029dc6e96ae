//go:build cgo && unix

package hsm

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// p11-kit's client never comes back from some of the calls that are in flight together when its server dies. With one at a time they
// all do, and the connection is made again as often as the server is.
func TestTheServerOfATokenDiesUnderLoad(t *testing.T) {
	const outages, signers = 4, 8
	ctx := context.Background()
	r := newRemote(t)
	cfg := configFor(t, sharedToken)
	cfg.Module = r.module
	cfg.pace = pace{firstRetry: 50 * time.Millisecond, lastRetry: 500 * time.Millisecond, lockedOut: time.Second, probe: 2 * time.Second}
	tokens := make([]*Token, 2) // two handles share the client, and its turn
	for i := range tokens {
		var err error
		tokens[i], err = Open(ctx, cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, tokens[i].Close(), "no call is stuck") }()
	}
	ref, err := tokens[0].CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	jwk, err := tokens[0].PublicJWK(ctx, ref.KID, 1)
	require.NoError(t, err)

	message := []byte("message")
	var made atomic.Int64
	life, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	for i := range signers {
		signer, err := tokens[i%len(tokens)].Signer(ctx, ref.KID, 1)
		require.NoError(t, err)
		load.Go(func() {
			for life.Err() == nil {
				signature, err := signer.SignContext(ctx, ref.Alg.Digest(message), ref.Alg.SignerOpts())
				switch {
				case err == nil && jwk.Verify(message, signature) != nil:
					t.Error("a wrong signature")
				case err == nil:
					made.Add(1)
				case !provider.IsOutage(err):
					t.Errorf("a dead server is an outage, not: %v", err)
				default:
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	more := func() bool {
		before := made.Load()
		return eventually(func() bool { return made.Load() > before+signers })
	}
	require.True(t, more())
	for range outages {
		r.stop()
		r.start()
		require.True(t, more(), "signatures go on when the server is back")
	}
	stop()
	load.Wait()
	for _, token := range tokens {
		require.Zero(t, token.Stats().Stuck)
	}
}

// eventually waits for half a minute.
func eventually(done func() bool) bool {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return false
}
