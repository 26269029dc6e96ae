package hsm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimitedEndsAtItsLimitAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx := withLimit(context.Background(), time.Second)
		defer ctx.end()
		require.NoError(t, ctx.Err())
		<-ctx.Done()
		require.Equal(t, time.Second, time.Since(start))
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		require.Equal(t, timeLimit(time.Second), context.Cause(ctx))
	})
}

func TestLimitedThatIsAskedTooLateHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := withLimit(context.Background(), time.Second)
		defer ctx.end()
		time.Sleep(time.Second)
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		require.Equal(t, timeLimit(time.Second), context.Cause(ctx))
	})
}

func TestLimitedEndsWithItsCaller(t *testing.T) {
	type key struct{}
	caller, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
	ctx := withLimit(caller, time.Hour)
	defer ctx.end()
	require.Equal(t, "value", ctx.Value(key{}))
	cancel()
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), context.Canceled)
}

func TestLimitedIsReleasedByItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a timer or a goroutine stays
		caller, cancel := context.WithCancel(context.Background())
		defer cancel()
		asked, unasked := withLimit(caller, time.Hour), withLimit(caller, time.Hour)
		done := asked.Done()
		asked.end()
		unasked.end()
		<-done
	})
}
