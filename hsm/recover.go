//go:build cgo

package hsm

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Bounds of the wait between two attempts to connect again. Each is shortened at random, by half at most.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// lost takes the connection down if it is up and m its membership.
func (c *conn) lost(m *member, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == m && c.state == stateUp {
		c.fallLocked(err)
	}
}

// fall takes a connection down that could not be made.
func (c *conn) fall(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateConnecting {
		c.fallLocked(err)
	}
}

func (c *conn) fallLocked(err error) {
	c.setLocked(stateDown, err)
	c.cfg.Logger.Warn("token lost", slog.String("token", c.cfg.name()), slog.Any("error", err))
	c.work.Go(c.recover)
}

// recover connects until that works, or can't ever.
func (c *conn) recover() {
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		select {
		case <-c.life.Done():
			return
		case <-time.After(delay/2 + rand.N(delay/2)):
		}
		m, err := c.startAfresh()
		if err == nil || !provider.IsOutage(err) {
			c.settle(m, err)
			return
		}
		c.stillDown(err)
	}
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

// stillDown keeps the latest reason for the callers who ask.
func (c *conn) stillDown(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateDown {
		c.cause = err
	}
}
