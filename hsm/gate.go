package hsm

import (
	"context"
	"sync"
	"time"
)

// gate lets any number of calls in, or one goroutine alone. It differs from a sync.RWMutex in that both can give up.
//
// Who wants to be alone keeps new calls waiting until those inside have come out, or else steady traffic would keep it out for
// ever; but for gateRound at a time only, or else a call that never comes out would keep everyone out.
type gate struct {
	mu     sync.Mutex
	inside int           // calls
	shut   chan struct{} // not nil while shut; closed when the gate opens
	empty  chan struct{} // closed when no call is inside a shut gate any more
}

const (
	gateRound = time.Second           // how long calls are kept waiting at a time
	gatePause = 50 * time.Millisecond // how long they then get in
)

// enter lets a call in. It waits for ctx at most while the gate is shut, and returns its error then.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			g.inside++
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leave is called once for each call that was let in.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.shut != nil {
		close(g.empty)
	}
}

// lock keeps everyone else out until unlock. It gives up when ctx ends, and returns false.
func (g *gate) lock(ctx context.Context) bool {
	for !g.lockRound(ctx) {
		select {
		case <-time.After(gatePause):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// lockRound is lock for gateRound at most.
func (g *gate) lockRound(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, gateRound)
	defer cancel()
	g.mu.Lock()
	for g.shut != nil {
		shut := g.shut
		g.mu.Unlock()
		select {
		case <-shut:
		case <-ctx.Done():
			return false
		}
		g.mu.Lock()
	}
	g.shut, g.empty = make(chan struct{}), make(chan struct{})
	empty, free := g.empty, g.inside == 0
	g.mu.Unlock()
	if free {
		return true
	}
	select {
	case <-empty:
		return true
	case <-ctx.Done():
		g.unlock()
		return false
	}
}

// unlock opens the gate.
func (g *gate) unlock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}
