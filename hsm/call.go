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

// late is the error of a context that has ended: its own, or provider.ErrUnavailable if it was the time limit.
func (c *conn) late(ctx context.Context, what string) error {
	if limit, ok := errors.AsType[timeLimit](context.Cause(ctx)); ok {
		return c.unavailable("%s %w", what, limit)
	}
	return ctx.Err()
}

// enter runs f inside the module if m is c's membership still. Everything that calls the module goes through here, or through admit.
func (c *conn) enter(ctx context.Context, m *member, f func(*member) error) error {
	if err := c.admit(ctx, m); err != nil {
		return err
	}
	defer c.lib.release()
	return f(m)
}

// admit lets a call into the module if m is c's membership still. The caller calls lib.release when it is out.
func (c *conn) admit(ctx context.Context, m *member) error {
	if c.lib.enter(ctx) != nil {
		return c.late(ctx, "the module was not free")
	}
	if c.lib.members[c] != m {
		c.lib.release()
		return errEpoch
	}
	return nil
}

// do runs one operation on a session of its own. It returns when the operation has ended, ctx has, or the time limit has passed.
//
// An operation that outlasts its caller keeps its session until it comes back. So f must not read what belongs to the caller,
// and what it stores for the caller may be read only if do returns nil. f leaves no operation open unless it fails, and may run
// again if it fails for want of a session or a login.
func (c *conn) do(ctx context.Context, f func(*member, pkcs11.SessionHandle) error) error {
	return c.call(ctx, c.cfg.Timeout, func(m *member) error {
		s, err := c.open(m)
		if err != nil {
			return err
		}
		if err := f(m, s); err != nil {
			c.discard(m, s) // an operation may be open on it
			return err
		}
		m.park(s)
		return nil
	})
}

// renewals is how often an operation is tried again on another session, after another login or in a module with room again.
const renewals = 2

// call is do with a time limit and without a session: for crypto11, which has its own.
func (c *conn) call(caller context.Context, limit time.Duration, f func(*member) error) error {
	if err := caller.Err(); err != nil {
		return err
	}
	ctx := withLimit(caller, limit)
	defer ctx.end()
	for renewed := 0; ; {
		m, err := c.ready(ctx)
		if err != nil {
			return err
		}
		switch err = c.callOnce(ctx, m, f); {
		case errors.Is(err, errEpoch):
			c.rejoin(m)
		case errors.Is(err, errFull):
		case (undone(err) || m.full(err)) && renewed < renewals:
			renewed++
			if c.renewed(ctx, m, err) != nil {
				return err
			}
		default:
			c.judge(m, err)
			return err
		}
	}
}

// callOnce is call in m's epoch.
func (c *conn) callOnce(ctx *limited, m *member, f func(*member) error) error {
	if err := c.acquire(ctx, m); err != nil {
		return err
	}
	return c.fly(ctx, m, f, true)
}

// acquire waits until an operation may begin. errEpoch if the connection is lost meanwhile.
func (c *conn) acquire(ctx context.Context, m *member) error {
	select {
	case m.slots <- struct{}{}:
		return nil
	default:
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	for {
		_, changed := c.status()
		if c.up.Load() != m {
			return errEpoch
		}
		select {
		case m.slots <- struct{}{}:
			return nil
		case <-changed:
		case <-ctx.Done():
			return c.late(ctx, "no session was free")
		}
	}
}

// undone tells whether a call did nothing for want of a session or a login, so that it may be made again.
func undone(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.meaning != nil {
		return errors.Is(err, errLogin)
	}
	class := classOf(e.Code)
	return class == classSession || class == classLogin
}

// renewed waits until the token has been asked what is left of the connection, and the login was made anew if it was lost. The idle
// sessions are closed: what ended one may have ended all.
func (c *conn) renewed(ctx context.Context, m *member, err error) error {
	select {
	case <-c.check(m, err):
	case <-ctx.Done():
		return ctx.Err()
	}
	_ = c.enter(ctx, m, func(m *member) error { // or m has ended, and its sessions with it
		c.trim(m, true)
		return nil
	})
	return nil
}

// judge looks at what an operation returned, and has the token checked where that may mean an outage.
func (c *conn) judge(m *member, err error) {
	e, answered := errors.AsType[*Error](err)
	if answered && !errors.Is(err, provider.ErrInvalid) && classOf(e.Code).doubtful() {
		c.check(m, err)
	}
}
