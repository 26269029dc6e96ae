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

// errEpoch means an object or a membership belongs to a connection that has ended. Find the object again.
var errEpoch = fmt.Errorf("%w: the connection was made anew", provider.ErrUnavailable)

// enter runs f inside the module, in m's epoch. Everything that calls the module goes through here.
func (c *conn) enter(m *member, f func(*member) error) error {
	c.lib.inside.RLock()
	defer c.lib.inside.RUnlock()
	if c.lib.epoch != m.epoch {
		return errEpoch
	}
	return f(m)
}

// do runs one operation on a session of its own, and returns when it has ended, ctx has, or the time limit has passed. An
// operation that outlasts its caller keeps its session until it comes back. f leaves no operation open unless it fails.
func (c *conn) do(ctx context.Context, f func(*member, pkcs11.SessionHandle) error) error {
	return c.call(ctx, func(m *member) error {
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

// call is do without a session of ours: for crypto11, which has its own. An operation that finds its epoch ended has done
// nothing, so it is tried once more in the next one.
func (c *conn) call(ctx context.Context, f func(*member) error) error {
	err := c.callOnce(ctx, c.cfg.Timeout, f)
	if errors.Is(err, errEpoch) {
		err = c.callOnce(ctx, c.cfg.Timeout, f)
	}
	return err
}

func (c *conn) callOnce(ctx context.Context, limit time.Duration, f func(*member) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m, err := c.ready(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
	case <-limited.Done():
		return c.timeout(ctx, m, limit, "no session was free")
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-m.slots }()
		done <- c.enter(m, f)
	}()
	select {
	case err := <-done:
		c.judge(m, err)
		return err
	case <-limited.Done():
		return c.timeout(ctx, m, limit, "no answer")
	}
}

// timeout tells the caller's own deadline from the token's silence, which is worth a look.
func (c *conn) timeout(ctx context.Context, m *member, limit time.Duration, what string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := c.unavailable("%s within %v", what, limit)
	c.check(m, err)
	return err
}

// judge looks at what an operation returned, and has the token checked where that may mean an outage.
func (c *conn) judge(m *member, err error) {
	var e *Error
	switch {
	case err == nil:
	case errors.Is(err, errEpoch):
		c.rejoin(m)
	case errors.As(err, &e) && !errors.Is(err, provider.ErrInvalid):
		if classOf(e.Code).doubtful() {
			c.check(m, err)
		}
	}
}

// check asks the token, off the caller's path, whether it is there: one code is no proof of an outage.
func (c *conn) check(m *member, cause error) {
	m.mu.Lock()
	running := m.checking
	m.checking = true
	m.mu.Unlock()
	if running || c.life.Err() != nil {
		return
	}
	c.work.Go(func() {
		done := make(chan error, 1)
		go func() { done <- c.enter(m, c.probe) }()
		ctx, cancel := context.WithTimeout(c.life, c.cfg.Timeout)
		defer cancel()
		err := cause
		select {
		case err = <-done:
		case <-ctx.Done():
		}
		m.mu.Lock()
		m.checking = false
		m.mu.Unlock()
		if err != nil && c.life.Err() == nil {
			c.lost(m, err)
		}
	})
}

// probe returns nil if the token of m is there and logged in.
func (c *conn) probe(m *member) error {
	if err := c.present(m); err != nil {
		return err
	}
	s, err := c.lib.p11.OpenSession(m.info.Slot, sessionFlags(m.info))
	if err != nil {
		return c.fail("C_OpenSession", err)
	}
	defer func() { _ = c.lib.p11.CloseSession(s) }()
	info, err := c.lib.p11.GetSessionInfo(s)
	if err != nil {
		return c.fail("C_GetSessionInfo", err)
	}
	if user := info.State == pkcs11.CKS_RO_USER_FUNCTIONS || info.State == pkcs11.CKS_RW_USER_FUNCTIONS; m.loggedIn && !user {
		return c.unavailable("the login was lost")
	}
	return nil
}

// present returns nil if the token of m still answers, and is still the same.
func (c *conn) present(m *member) error {
	raw, err := c.lib.p11.GetTokenInfo(m.info.Slot)
	if err != nil {
		return c.fail("C_GetTokenInfo", err)
	}
	if serial := trim(raw.SerialNumber); serial != m.info.Serial {
		return c.unavailable("another token, serial %s, is in the slot", quote(serial))
	}
	return nil
}

// open takes an idle session or opens one.
func (c *conn) open(m *member) (pkcs11.SessionHandle, error) {
	m.mu.Lock()
	if n := len(m.idle); n > 0 {
		s := m.idle[n-1]
		m.idle = m.idle[:n-1]
		m.mu.Unlock()
		return s, nil
	}
	m.mu.Unlock()
	s, err := c.lib.p11.OpenSession(m.info.Slot, sessionFlags(m.info))
	return s, c.fail("C_OpenSession", err)
}

// park puts a session without an open operation back.
func (m *member) park(s pkcs11.SessionHandle) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = append(m.idle, s)
}

// closeSessions closes what c has open in its last epoch. The caller holds the library's inside for writing.
func (c *conn) closeSessions() {
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	if m == nil || m.epoch != c.lib.epoch {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range append(m.idle, m.login) {
		_ = c.lib.p11.CloseSession(s)
	}
	m.idle = nil
}
