package hsm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWaitsGrowByHalfUpToTheLast(t *testing.T) {
	wait, total := defaultPace.firstRetry, time.Duration(0)
	for wait < defaultPace.lastRetry {
		total += wait
		longer := defaultPace.grown(wait)
		require.Greater(t, longer, wait)
		require.LessOrEqual(t, longer, time.Second+total/2, "an outage is noticed to be over after half its length and a second")
		wait = longer
	}
	require.Equal(t, defaultPace.lastRetry, defaultPace.grown(wait))
}
