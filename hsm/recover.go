//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// attempt is one way to get a membership.
type attempt func() (*member, error)

// startLocked connects anew at once, by the given way first. Callers wait for it.
func (c *conn) startLocked(cause error, first attempt) {
	c.setLocked(StateRecovering, cause)
	c.patient = true
	c.work.Go(func() { c.pursue(first) })
}

// rejoin connects again after another Token on the module has ended m's epoch.
func (c *conn) rejoin(m *member) { c.restart(m, nil, c.connect) }

// restart connects anew if the connection is up and m its membership.
func (c *conn) restart(m *member, cause error, first attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == m && c.state.State == StateUp {
		c.startLocked(cause, first)
	}
}

// lost takes the connection down if it is up and m its membership.
func (c *conn) lost(m *member, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == m && c.state.State == StateUp {
		c.loseLocked(StateDown, err, c.startAfresh)
	}
}

// loseLocked takes a connection down that was up. Callers fail at once until it is up again, by the given way or another.
func (c *conn) loseLocked(s State, err error, first attempt) {
	wait := c.cfg.pace.firstRetry
	if time.Since(c.state.Since) >= c.cfg.pace.steady {
		wait = 0
	}
	c.setLocked(s, err)
	c.cfg.Logger.Warn("token lost", slog.String("token", c.cfg.name()), slog.String("state", s.String()), slog.Any("error", err))
	c.work.Go(func() {
		if c.pause(wait) {
			c.trying()
			c.pursue(first)
		}
	})
}

// pursue connects until that works, is refused, or the Token is closed: by the given way, and then to a module that is started afresh,
// after waits that grow.
func (c *conn) pursue(next attempt) {
	for delay := c.cfg.pace.firstRetry; ; delay = c.cfg.pace.grown(delay) {
		watch := c.watch()
		m, err := next()
		watch.Stop()
		if c.settle(m, err) || !c.pause(delay) {
			return
		}
		c.trying()
		next = c.startAfresh
	}
}

// pause waits before the next attempt: for the calls that are stuck, if there are any, and else about as long as delay. It returns
// false if the Token was closed meanwhile.
func (c *conn) pause(delay time.Duration) bool {
	c.mu.Lock()
	back := c.back
	c.mu.Unlock()
	if back != nil {
		select {
		case <-back:
			return true
		case <-c.life.Done():
			return false
		}
	}
	select {
	case <-time.After(delay/2 + rand.N(delay/2+1)):
		return true
	case <-c.life.Done():
		return false
	}
}

// trying says that an attempt is under way during an outage. The reason of the outage stands.
func (c *conn) trying() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.State != StateClosed {
		c.setLocked(StateRecovering, c.state.Cause)
	}
}

// watch lets callers go if an attempt to connect hangs inside the module.
func (c *conn) watch() *time.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.pin.asked.Load()
	var t *time.Timer
	t = time.AfterFunc(c.cfg.Timeout, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch now := c.pin.asked.Load(); {
		case now != asked || now%2 == 1: // a person types the PIN
			asked = now
			t.Reset(c.cfg.Timeout)
		case c.state.State == StateRecovering:
			c.setLocked(StateWedged, c.unavailable("connect: a call into the module has not come back %w", timeLimit(c.cfg.Timeout)))
		}
	})
	return t
}

// settle ends an attempt with what came of it. It returns false if there has to be another one.
func (c *conn) settle(m *member, err error) (settled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state.State == StateClosed:
		return true
	case err == nil:
		c.settleUpLocked(m)
		return true
	case errors.Is(err, provider.ErrAuth):
		if !c.history.refused {
			c.cfg.Logger.Error("token locked out", slog.String("token", c.cfg.name()), slog.Any("error", err))
		}
		c.history.refused = true
		c.setLocked(StateLockedOut, err)
		return true
	}
	if c.seen != nil && !provider.IsOutage(err) { // it was there, so this is no fault of the configuration
		err = c.unavailable("connect again: %w", err)
	}
	if c.patient {
		c.cfg.Logger.Warn("token not connected", slog.String("token", c.cfg.name()), slog.Any("error", err))
	}
	if errors.Is(err, errWedged) {
		c.setLocked(StateWedged, err)
	} else {
		c.setLocked(StateDown, err)
	}
	return false
}

func (c *conn) settleUpLocked(m *member) {
	attrs := []any{slog.String("token", c.cfg.name()), slog.String("serial", m.info.Serial), slog.Uint64("epoch", m.epoch)}
	if c.state.Cause != nil {
		attrs = append(attrs, slog.Duration("outage", c.history.recovered(time.Since(c.state.Since))))
	}
	if c.member != m {
		c.history.epochs++
	}
	c.history.refused = false
	c.member = m
	c.setLocked(StateUp, nil)
	c.up.Store(m)
	c.cfg.Logger.Info("token connected", attrs...)
	c.work.Go(func() { c.keepAlive(m) })
}

// startAfresh connects to a module that has just been initialised. It ends the epoch in which the token was not to be had, also if
// other Tokens are well in it, which join the next one by themselves: some modules show a token that comes back after C_Finalize
// and C_Initialize only.
func (c *conn) startAfresh() (m *member, err error) {
	ctx, cancel := context.WithTimeout(c.life, c.cfg.Timeout)
	defer cancel()
	for range 2 { // others may have begun the next epoch before the token was back
		if err = c.lib.end(ctx, c.tried); err != nil {
			return nil, err
		}
		if m, err = c.connect(); c.tried == 0 || !provider.IsOutage(err) {
			break
		}
	}
	return m, err
}

// resume goes on with m, whose token was in doubt, if it answers again; it logs in anew if the login was lost.
func (c *conn) resume(m *member) (*member, error) {
	err := c.ask(m)
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, errLogin):
		return c.enroll(func(ctx context.Context) (*member, error) { return c.lib.renew(ctx, c, m) })
	}
	return nil, err
}

// errLogin means that the session which holds the login, or the login itself, is gone from a token that is there.
var errLogin = fmt.Errorf("%w: the login was lost", provider.ErrUnavailable)
