//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// errEpoch means that a membership has ended, and nothing was asked of the module. Become a member again.
var errEpoch = fmt.Errorf("%w: the connection was made anew", provider.ErrUnavailable)

// timeLimit is the cause of a context that the time limit of an operation has ended, and not its caller.
type timeLimit time.Duration

func (l timeLimit) Error() string { return "within " + time.Duration(l).String() }

// late is the error of a context that has ended: its own, or provider.ErrUnavailable if it was the time limit.
func (c *conn) late(ctx context.Context, what string) error {
	if limit, ok := errors.AsType[timeLimit](context.Cause(ctx)); ok {
		return c.unavailable("%s %w", what, limit)
	}
	return ctx.Err()
}

// enter runs f inside the module if m is c's membership still. Everything that calls the module goes through here.
func (c *conn) enter(ctx context.Context, m *member, f func(*member) error) error {
	if c.lib.gate.enter(ctx) != nil {
		return c.late(ctx, "the module was not free")
	}
	defer c.lib.gate.leave()
	if c.lib.members[c] != m {
		return errEpoch
	}
	return f(m)
}

// do runs one operation on a session of its own. It returns when the operation has ended, ctx has, or the time limit has passed.
//
// An operation that outlasts its caller keeps its session until it comes back. So f must not read what belongs to the caller,
// and what it stores for the caller may be read only if do returns nil. f leaves no operation open unless it fails.
func (c *conn) do(ctx context.Context, f func(*member, pkcs11.SessionHandle) error) error {
	return c.call(ctx, c.cfg.Timeout, func(m *member) error {
		s, err := c.open(m)
		if err != nil {
			return err
		}
		if err := f(m, s); err != nil {
			_ = c.lib.p11.CloseSession(s) // an operation may be open on it
			return err
		}
		m.park(s)
		return nil
	})
}

// call is do with a time limit and without a session: for crypto11, which has its own.
func (c *conn) call(ctx context.Context, limit time.Duration, f func(*member) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, timeLimit(limit))
	defer cancel()
	for {
		m, err := c.ready(ctx)
		if err != nil {
			return err
		}
		err = c.callOnce(ctx, m, f)
		if !errors.Is(err, errEpoch) {
			c.judge(m, err)
			return err
		}
		c.rejoin(m)
	}
}

// callOnce is call in m's epoch.
func (c *conn) callOnce(ctx context.Context, m *member, f func(*member) error) error {
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return c.late(ctx, "no session was free")
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-m.slots }()
		done <- c.enter(ctx, m, f)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return c.late(ctx, "no answer")
	}
}

// judge looks at what an operation returned, and has the token checked where that may mean an outage.
func (c *conn) judge(m *member, err error) {
	_, late := errors.AsType[timeLimit](err)
	e, answered := errors.AsType[*Error](err)
	if late || answered && !errors.Is(err, provider.ErrInvalid) && classOf(e.Code).doubtful() {
		c.check(m, err)
	}
}
