//go:build cgo

package hsm

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// flight is a call into the module, which can't be interrupted. Whoever made it leaves when it takes too long; it is stuck once it
// has outlived its time limit.
type flight struct {
	done   chan error
	inside atomic.Bool  // it has been let into the module
	stage  atomic.Int32 // flying, landed, or left by its caller

	// Guarded by conn.mu, of a flight that was left.
	timer *time.Timer
	over  bool
	stuck bool
}

const (
	flying int32 = iota
	landed
	left
)

// fly runs f inside the module in a goroutine, and waits for it as long as ctx lasts. release runs when f has ended, or can't begin.
func (c *conn) fly(ctx context.Context, m *member, limit time.Duration, f func(*member) error, release func(error)) error {
	fl, start := &flight{done: make(chan error, 1)}, time.Now()
	go func() {
		err := c.enter(ctx, m, func(m *member) error {
			fl.inside.Store(true)
			return f(m)
		})
		release(err)
		if !fl.stage.CompareAndSwap(flying, landed) {
			c.land(fl)
		}
		fl.done <- err
	}()
	select {
	case err := <-fl.done:
		return err
	case <-ctx.Done():
	}
	if !fl.stage.CompareAndSwap(flying, left) {
		return <-fl.done
	}
	err := c.late(ctx, "no answer")
	c.quarantine(m, fl, limit-time.Since(start), err)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.check(m, err)
	}
	return err
}

// quarantine watches a call that its caller has left, which gets stuck after the given time.
func (c *conn) quarantine(m *member, fl *flight, after time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case fl.over:
	case after <= 0:
		c.stickLocked(m, fl, err)
	default:
		fl.timer = time.AfterFunc(after, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.stickLocked(m, fl, c.unavailable("no answer %w", timeLimit(c.cfg.Timeout)))
		})
	}
}

// stickLocked notes that a call is stuck, and takes the connection down with it: what hangs once hangs for the next caller too.
func (c *conn) stickLocked(m *member, fl *flight, err error) {
	if fl.over || fl.stuck || !fl.inside.Load() { // it waits for its turn, and gives up by itself
		return
	}
	fl.stuck = true
	if c.stuck++; c.stuck == 1 {
		c.back = make(chan struct{})
	}
	if c.state.State == StateUp && c.member == m {
		c.loseLocked(StateWedged, err, func() (*member, error) { return c.resume(m) })
	}
}

// land ends a flight that its caller has left.
func (c *conn) land(fl *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fl.over = true
	if fl.timer != nil {
		fl.timer.Stop()
	}
	if !fl.stuck {
		return
	}
	if c.stuck--; c.stuck == 0 {
		close(c.back)
		c.back = nil
	}
}
