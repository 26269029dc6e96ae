package hsm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestSettledTriesAgainWhileTheConnectionMoves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errs  []error // the last one is what every further call returns
		calls int
		want  error
	}{
		{"it works", []error{nil}, 1, nil},
		{"it works at last", []error{errMoved, errMoved, nil}, 3, nil},
		{"an outage is not tried again", []error{provider.ErrUnavailable}, 1, provider.ErrUnavailable},
		{"another error ends it", []error{errMoved, provider.ErrNotFound}, 2, provider.ErrNotFound},
		{"no longer than the time limit", []error{errMoved}, 4, errMoved},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				err := settledErr(Config{Timeout: time.Second}, func() error {
					time.Sleep(300 * time.Millisecond)
					calls++
					return tt.errs[min(calls, len(tt.errs))-1]
				})
				require.ErrorIs(t, err, tt.want)
				require.Equal(t, tt.calls, calls)
			})
		})
	}
}
