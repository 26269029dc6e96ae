package hsm

import (
	"context"
	"sync"
	"time"
)

// timeLimit is the cause of a context that the time limit of an operation has ended, and not its caller.
type timeLimit time.Duration

func (l timeLimit) Error() string { return "within " + time.Duration(l).String() }

// limited is a caller's context with the time limit of an operation. What it takes to be a context, above all a timer, it gets when it
// is first asked as one: most operations wait for nothing but their flight, which does not ask it, and a timer for each would
// cost them more than all else that they do outside the module.
type limited struct {
	caller context.Context
	limit  time.Duration
	until  time.Time

	once   sync.Once
	whole  context.Context
	cancel context.CancelFunc
}

var _ context.Context = (*limited)(nil)

// withLimit begins an operation, which the caller ends with end.
func withLimit(caller context.Context, limit time.Duration) *limited {
	return &limited{caller: caller, limit: limit, until: time.Now().Add(limit)}
}

// end ends the context. Only who has asked it before may ask it afterwards.
func (l *limited) end() {
	l.once.Do(func() {})
	if l.cancel != nil {
		l.cancel()
	}
}

func (l *limited) context() context.Context {
	l.once.Do(func() { l.whole, l.cancel = context.WithDeadlineCause(l.caller, l.until, timeLimit(l.limit)) })
	return l.whole
}

func (l *limited) Deadline() (time.Time, bool) { return l.context().Deadline() }
func (l *limited) Done() <-chan struct{}       { return l.context().Done() }
func (l *limited) Err() error                  { return l.context().Err() }
func (l *limited) Value(key any) any           { return l.context().Value(key) }
