//go:build cgo

package hsm

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// flight is a call into the module, which can't be interrupted. Whoever made it leaves when it takes too long; it is stuck once it
// has outlived its time limit. One that was not left is used again.
type flight struct {
	// What to do, and for how long; the caller's to set.
	ctx    *limited
	member *member
	call   func(*member) error
	slot   bool // it frees one of member.slots when it has ended

	done   chan error   // gets the result, or errOverdue; not if the caller has left by itself
	stage  atomic.Int32 // flying, landed, or left by its caller
	inside atomic.Bool  // it has been let into the module

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

// errOverdue tells the caller of a flight that its time is up.
var errOverdue = errors.New("overdue")

// fly runs call inside the module in another goroutine, and waits for it as long as ctx lasts. slot tells that it holds one of m.slots,
// which is freed when the call has ended, or can't begin.
func (c *conn) fly(ctx *limited, m *member, call func(*member) error, slot bool) error {
	fl, start := c.crew.flight(), time.Now()
	fl.ctx, fl.member, fl.call, fl.slot = ctx, m, call, slot
	c.crew.send(c, fl)
	err := fl.wait(ctx.caller.Done())
	if err != errOverdue {
		c.crew.reuse(fl)
		return err
	}
	err = c.overdue(ctx)
	c.quarantine(m, fl, ctx.limit-time.Since(start), err)
	if !errors.Is(err, context.Canceled) {
		c.check(m, err)
	}
	return err
}

// overdue is the error of a flight that was left. ctx is not asked for it: its timer may go off a moment after the crew's alarm, and
// until then it has no error, which would make what hangs pass for done. It has to be a context from here on nevertheless, because
// the flight may ask it after its end.
func (c *conn) overdue(ctx *limited) error {
	_ = ctx.context()
	if err := ctx.caller.Err(); err != nil {
		return err
	}
	return c.unavailable("no answer %w", timeLimit(ctx.limit))
}

// wait returns the result of a flight, or errOverdue when its time is up or the caller's context has ended: the flight is left then.
func (fl *flight) wait(gone <-chan struct{}) error {
	if gone == nil { // to wait for one channel costs a third of waiting for two
		return <-fl.done
	}
	select {
	case err := <-fl.done:
		return err
	case <-gone:
		if fl.stage.CompareAndSwap(flying, left) {
			return errOverdue
		}
		return <-fl.done
	}
}

// carry is what happens in the other goroutine.
func (fl *flight) carry(c *conn) error {
	err := c.admit(fl.ctx, fl.member)
	if err == nil {
		fl.inside.Store(true)
		err = fl.call(fl.member)
		c.lib.release()
	}
	if fl.slot && !errors.Is(err, errFull) { // or else the slot stands for the session that is missing
		<-fl.member.slots
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
