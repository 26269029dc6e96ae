//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// conn is the connection of one Token: a link in this process.
//
// Its first use, or recovery, makes it a member of the library's epoch. One goroutine at a time connects (pursue): whatever takes
// the state away from new, up or locked out starts it.
type conn struct {
	cfg  Config
	lib  *library
	p11  module
	pin  pinKeeper
	crew crew
	pid  int // of the process that made it

	up      atomic.Pointer[member] // the membership of a connection that is up, for a look without the lock
	waiting atomic.Int64           // operations that wait for a session

	mu      sync.Mutex
	state   Status
	patient bool          // callers wait for the attempt that is under way
	changed chan struct{} // closed at the next change of state
	member  *member       // of the current or the last epoch
	stuck   int           // calls into the module that have outlived their time limit
	back    chan struct{} // closed when the last of them has come back; nil if there is none
	history history

	// Of the goroutine that connects.
	seen  *TokenInfo // what the token said of itself first; later epochs must find the same
	tried uint64     // the library's epoch at the last attempt; 0: it found none and began none

	life   context.Context // ends in close
	cancel context.CancelFunc
	work   sync.WaitGroup // attempts, recovery, keep-alive and checks
}

var _ link = (*conn)(nil)

func newLink(cfg Config) (link, error) {
	lib, err := loadLibrary(cfg.Module, cfg.InitArgs)
	if err != nil {
		return nil, err
	}
	c := &conn{cfg: cfg, lib: lib, p11: module{lib.p11, lib.direct, &counters{}}, pid: getpid(), changed: make(chan struct{})}
	c.state.Since = time.Now()
	c.pin.source, c.pin.logger = cfg.PIN, cfg.Logger
	c.life, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// getpid is a variable because no test can fork a Go program.
var getpid = os.Getpid

// forked returns an error in a process that was forked from the one that made the connection. PKCS#11 v3.0 section 5.4 leaves the
// state of a module undefined there, and the locks of this package may be held by threads that the child does not have.
func (c *conn) forked() error {
	if pid := getpid(); pid != c.pid {
		return c.unavailable("process %d was forked from process %d, which opened the token: open it again", pid, c.pid)
	}
	return nil
}

// ready returns the membership of a connection that is up. Before the first connection it makes one, and waits for it, as long as
// Config.Timeout allows. The time starts anew when the PIN's source has answered: it may be a person who types.
func (c *conn) ready(ctx context.Context) (*member, error) {
	if err := c.forked(); err != nil {
		return nil, err
	}
	if m := c.up.Load(); m != nil {
		return m, nil
	}
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

// standing returns the membership of a connection that is up, or why it is not, or, while callers have to wait, what is closed at the
// next change. It starts the first attempt, and one more after a refused PIN, which may have changed.
func (c *conn) standing() (m *member, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state.State {
	case StateUp:
		return c.member, nil, nil
	case StateNew:
		c.startLocked(nil, c.connect)
	case StateLockedOut:
		if c.cfg.PIN == nil || time.Since(c.state.Since) < c.cfg.pace.lockedOut {
			return nil, nil, c.state.Cause
		}
		c.startLocked(c.state.Cause, c.connect)
	}
	if c.patient {
		return nil, c.changed, nil
	}
	return nil, nil, c.refusalLocked()
}

// setLocked changes the state and wakes those who wait for it.
func (c *conn) setLocked(s State, cause error) {
	since := time.Now()
	if c.state.State.outage() && s.outage() {
		since = c.state.Since
	}
	c.state, c.patient = Status{s, since, cause}, false
	if s != StateUp {
		c.up.Store(nil)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// outage tells whether the state is part of one.
func (s State) outage() bool { return s == StateRecovering || s == StateDown || s == StateWedged }

func (c *conn) status() (Status, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.changed
}

// close ends the connection. If a call into the module does not come back in time, close returns without it, and the connection
// leaves the module when the call is back.
func (c *conn) close() error {
	if err := c.forked(); err != nil {
		return err
	}
	c.mu.Lock()
	if c.state.State == StateClosed {
		c.mu.Unlock()
		return nil
	}
	c.setLocked(StateClosed, provider.ErrClosed)
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
	c.crew.dismiss()
	c.pin.wipe()
	err := c.lib.leave(c, c.cfg.Timeout)
	for delay := c.cfg.pace.firstRetry; errors.Is(err, errWedged); delay = c.cfg.pace.grown(delay) {
		time.Sleep(delay)
		err = c.lib.leave(c, gateRound) // others may be well: keep them waiting for no more than that
	}
	c.lib.unload()
	return err
}

func (c *conn) epoch() uint64 {
	if m := c.up.Load(); m != nil {
		return m.epoch
	}
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
		e := &Error{Token: token, Call: call, Code: uint(code)}
		if classOf(e.Code) == classAnswer { // not to this call
			return e.as(provider.ErrUnavailable)
		}
		return e
	}
	return fmt.Errorf("%s: %w: %w", call, provider.ErrUnavailable, err)
}
