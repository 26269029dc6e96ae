//go:build cgo

package hsm

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkTokenAway measures, with the waits that users get, how long after a token is back the first signature comes. b.N outages
// of each length.
func BenchmarkTokenAway(b *testing.B) {
	for _, away := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second} {
		b.Run(away.String(), func(b *testing.B) {
			cfg := configFor(b, sharedToken)
			cfg.pace, cfg.Logger = defaultPace, slog.New(slog.DiscardHandler)
			token, err := Open(context.Background(), cfg)
			require.NoError(b, err)
			defer func() { require.NoError(b, token.Close()) }()
			u := newUser(b, token)
			var waits []time.Duration
			for b.Loop() {
				h := takeAway(b)
				gone := time.Now()
				for u.sign(context.Background()) == nil || time.Since(gone) < away {
					time.Sleep(time.Millisecond)
				}
				require.NoError(b, h.Restore())
				back := time.Now()
				for u.sign(context.Background()) != nil {
					time.Sleep(time.Millisecond)
				}
				waits = append(waits, time.Since(back))
			}
			slices.Sort(waits)
			b.ReportMetric(0, "ns/op") // of the outage too: says nothing
			b.ReportMetric(waits[len(waits)/2].Seconds(), "median-s")
			b.ReportMetric(waits[len(waits)-1].Seconds(), "longest-s")
		})
	}
}
