package providertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// testContext checks that no method does anything for a caller who has gone.
func (s *suite) testContext(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	ref, free := s.create(t, provider.KeySpec{Alg: s.quick(t)}), s.kid(t)
	ofObjects, _ := s.objectCalls(t)
	for _, call := range append(s.everyCall(t, ref, free), ofObjects...) {
		t.Run(call.name, func(t *testing.T) {
			require.ErrorIs(t, call.do(cancelled), context.Canceled)
			require.ErrorIs(t, call.do(late), context.DeadlineExceeded)
			require.False(t, provider.IsOutage(call.do(cancelled)), "nobody is waiting any more: no reason to ask another store")
		})
	}
	s.nothingUnder(t, free)
	s.answersAlike(t, ref)
}
