//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// state is where a connection stands.
type state int

const (
	stateFresh      state = iota // not tried yet
	stateConnecting              // an attempt is under way, and callers wait for it
	stateUp                      // every operation is tried
	stateDown                    // every operation fails at once; the recovery goroutine tries again
	stateRefused                 // wrong PIN or unusable configuration: nothing is tried again
	stateClosed
)

// conn is the connection of one Token: a link in this process.
//
// Its first use, or recovery, makes it a member of the library's epoch. One goroutine at a time connects: the one that
// changes the state to connecting starts it, and the one that changes it to down.
type conn struct {
	cfg Config
	lib *library
	pin pinKeeper

	mu      sync.Mutex
	state   state
	cause   error         // why the connection is not up
	changed chan struct{} // closed at the next change of state
	member  *member       // of the current or the last epoch

	// Of the goroutine that connects.
	serial string // of the token, once seen; later epochs must find the same
	tried  uint64 // the epoch of the last attempt; 0: it found none and began none

	life   context.Context // ends in close
	cancel context.CancelFunc
	work   sync.WaitGroup // attempts, recovery and checks
}

var _ link = (*conn)(nil)

func newLink(cfg Config) (link, error) {
	lib, err := loadLibrary(cfg.Module, cfg.InitArgs)
	if err != nil {
		return nil, err
	}
	c := &conn{cfg: cfg, lib: lib, changed: make(chan struct{})}
	c.pin.source = cfg.PIN
	c.life, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// ready returns the membership of a connection that is up. Before the first connection it makes one, and waits for it, as long as
// Config.Timeout allows. The time starts anew when the PIN's source has answered: it may be a person who types.
func (c *conn) ready(ctx context.Context) (*member, error) {
	m, changed, err := c.standing()
	if changed == nil {
		return m, err
	}
	asked, timer := c.pin.asked.Load(), time.NewTimer(c.cfg.Timeout)
	defer timer.Stop()
	for changed != nil {
		select {
		case <-changed:
			m, changed, err = c.standing()
		case <-ctx.Done():
			return nil, c.late(ctx, "no connection")
		case <-timer.C:
			now := c.pin.asked.Load()
			if now == asked && now%2 == 0 {
				return nil, c.unavailable("no connection %w", timeLimit(c.cfg.Timeout))
			}
			asked = now
			timer.Reset(c.cfg.Timeout)
		}
	}
	return m, err
}

// standing returns the membership of a connection that is up, or why it is not, or, while it connects, what is closed when that
// ends. It starts the first attempt.
func (c *conn) standing() (m *member, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case stateFresh:
		c.startLocked()
	case stateUp:
		return c.member, nil, nil
	case stateDown, stateRefused, stateClosed:
		return nil, nil, c.cause
	}
	return nil, c.changed, nil
}

// startLocked starts an attempt to connect, for which callers wait.
func (c *conn) startLocked() {
	c.setLocked(stateConnecting, nil)
	c.work.Go(func() {
		m, err := c.connect()
		if err != nil && provider.IsOutage(err) {
			c.fall(err)
			return
		}
		c.settle(m, err)
	})
}

// settle ends an attempt to connect with what came of it: up, or refused for good.
func (c *conn) settle(m *member, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return
	}
	if err != nil {
		c.setLocked(stateRefused, err)
		c.cfg.Logger.Error("token refused", slog.String("token", c.cfg.name()), slog.Any("error", err))
		return
	}
	c.member = m
	c.setLocked(stateUp, nil)
	c.cfg.Logger.Info("token connected", slog.String("token", c.cfg.name()), slog.String("serial", m.info.Serial), slog.Uint64("epoch", m.epoch))
}

// rejoin connects again after another Token on the module has ended m's epoch. Callers wait for it as for the first connection.
func (c *conn) rejoin(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == m && c.state == stateUp {
		c.startLocked()
	}
}

// setLocked changes the state and wakes those who wait for it.
func (c *conn) setLocked(s state, cause error) {
	c.state, c.cause = s, cause
	close(c.changed)
	c.changed = make(chan struct{})
}

// close ends the connection. If a call into the module does not come back in time, close returns without it, and the connection
// leaves the module when the call is back.
func (c *conn) close() error {
	c.mu.Lock()
	if c.state == stateClosed {
		c.mu.Unlock()
		return nil
	}
	c.setLocked(stateClosed, provider.ErrClosed)
	c.mu.Unlock()
	c.cancel()
	done := make(chan error, 1)
	go func() { done <- c.leave() }()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * c.cfg.Timeout):
		return c.unavailable("close: a call into the module has not come back within %v", 2*c.cfg.Timeout)
	}
}

// leave gives up the membership and the library as soon as that can be.
func (c *conn) leave() error {
	c.work.Wait()
	c.pin.wipe()
	err := c.lib.leave(c, c.cfg.Timeout)
	for delay := firstRetry; errors.Is(err, errWedged); delay = min(2*delay, lastRetry) {
		time.Sleep(delay)
		err = c.lib.leave(c, gateRound) // others may be well: keep them waiting for no more than that
	}
	c.lib.unload()
	return err
}

func (c *conn) epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == nil {
		return 0
	}
	return c.member.epoch
}

func (c *conn) alive(ctx context.Context) error {
	_, err := c.ready(ctx)
	return err
}

func (c *conn) token(ctx context.Context) (TokenInfo, map[uint]mechanismInfo, error) {
	m, err := c.ready(ctx)
	if err != nil {
		return TokenInfo{}, nil, err
	}
	return m.info, m.mechanisms, nil
}

// fail returns err as an [*Error] of the call, or nil.
func (c *conn) fail(call string, err error) error {
	if err == nil {
		return nil
	}
	return newError(c.cfg.name(), call, err)
}

func (c *conn) unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: token %s: %w", provider.ErrUnavailable, quote(c.cfg.name()), fmt.Errorf(format, args...))
}

// newError wraps a code of the module; any other error is of crypto11 or of this process and stays as it is.
func newError(token, call string, err error) error {
	var code pkcs11.Error
	if errors.As(err, &code) {
		return &Error{Token: token, Call: call, Code: uint(code)}
	}
	return fmt.Errorf("%s: %w: %w", call, provider.ErrUnavailable, err)
}
