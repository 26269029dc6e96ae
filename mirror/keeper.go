package mirror

import (
	"context"
	"sync"
	"time"
)

// keeper is the one goroutine of a Mirror: it runs tasks when they are due, one at a time, until its context ends.
type keeper struct {
	wake  chan struct{} // holds a value after a change of a due time
	ended chan struct{} // closed when run has returned

	mu    sync.Mutex
	tasks []*task
}

// task is something to do off the callers' paths.
type task struct {
	run func(context.Context)
	due time.Time // zero: not wanted; guarded by keeper.mu
}

func newKeeper() *keeper {
	return &keeper{wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// add makes a task that is not wanted yet.
func (k *keeper) add(run func(context.Context)) *task {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := &task{run: run}
	k.tasks = append(k.tasks, t)
	return t
}

// want asks for t at the given time, or earlier if it was asked for already.
func (k *keeper) want(t *task, at time.Time) {
	k.mu.Lock()
	if t.due.IsZero() || at.Before(t.due) {
		t.due = at
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (k *keeper) run(ctx context.Context) {
	defer close(k.ended)
	for ctx.Err() == nil {
		t, wait := k.next(time.Now())
		if t != nil {
			t.run(ctx)
			continue
		}
		alarm := make(<-chan time.Time)
		if wait > 0 {
			alarm = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-alarm:
		}
	}
}

// next returns the task that is due first, no longer wanted, if it is due at now; else how long to wait for it, 0 if there
// is none.
func (k *keeper) next(now time.Time) (*task, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var first *task
	for _, t := range k.tasks {
		if !t.due.IsZero() && (first == nil || t.due.Before(first.due)) {
			first = t
		}
	}
	switch {
	case first == nil:
		return nil, 0
	case now.Before(first.due):
		return nil, first.due.Sub(now)
	}
	first.due = time.Time{}
	return first, 0
}
