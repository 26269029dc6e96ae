package mirror

import (
	"context"
	"sync"
)

// gate lets users in until it is shut, and can then wait for those inside. The zero value is open.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter tells whether the gate is open. A user who got in calls leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

// shut lets no one in any more and returns when all have left.
func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// kidLocks lets one change of a key at a time through, so that a destroy can't overtake a mirror write in flight. Other
// keys, and reads, do not wait. The zero value is ready.
type kidLocks struct {
	mu   sync.Mutex
	held map[string]*kidLock
}

type kidLock struct {
	turn  chan struct{} // holds a value while locked
	users int           // holder and waiters
}

// lock returns once the caller has kid to itself, or with the context's error. The caller calls unlock once.
func (k *kidLocks) lock(ctx context.Context, kid string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*kidLock{}
	}
	l := k.held[kid]
	if l == nil {
		l = &kidLock{turn: make(chan struct{}, 1)}
		k.held[kid] = l
	}
	l.users++
	k.mu.Unlock()

	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn; k.leave(kid, l) }, nil
	case <-ctx.Done():
		k.leave(kid, l)
		return nil, ctx.Err()
	}
}

func (k *kidLocks) leave(kid string, l *kidLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.held, kid)
	}
}
