//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// state is where a connection stands.
type state int

const (
	stateFresh      state = iota // not tried yet
	stateConnecting              // the first attempt is under way
	stateUp                      // every operation is tried
	stateDown                    // every operation fails at once; the recovery goroutine tries again
	stateRefused                 // wrong PIN or unusable configuration: nothing is tried again
	stateClosed
)

// Bounds of the wait between two attempts to connect again.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// conn is the connection of one Token: a link in this process.
//
// Its first use, or recovery, makes it a member of the library's epoch. Only the goroutine that runs connect or recovery
// changes it from connecting or down to up.
type conn struct {
	cfg Config
	lib *library
	pin pinKeeper

	mu      sync.Mutex
	state   state
	cause   error         // why the connection is not up
	changed chan struct{} // closed at the next change of state
	member  *member       // of the current or the last epoch
	serial  string        // of the token, once seen; later epochs must find the same

	life   context.Context // ends in close
	cancel context.CancelFunc
	work   sync.WaitGroup // connect, recovery and checks
}

// member is a connection's part in one epoch.
type member struct {
	lib        *library
	epoch      uint64
	info       TokenInfo
	mechanisms map[uint]mechanismInfo
	c11        *crypto11.Context
	login      pkcs11.SessionHandle // held open: login and handles last as long as it does
	loggedIn   bool
	slots      chan struct{} // one token for each session in use or idle

	mu       sync.Mutex
	idle     []pkcs11.SessionHandle
	checking bool // a check of the token is under way
}

var _ link = (*conn)(nil)

func newLink(cfg Config) (link, error) {
	lib, err := loadLibrary(cfg.Module)
	if err != nil {
		return nil, err
	}
	c := &conn{cfg: cfg, lib: lib, changed: make(chan struct{})}
	c.pin.source = cfg.PIN
	c.life, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// ready returns the membership of a connection that is up. Before the first connection it makes one, and waits.
func (c *conn) ready(ctx context.Context) (*member, error) {
	for {
		c.mu.Lock()
		state, m, cause, changed := c.state, c.member, c.cause, c.changed
		if state == stateFresh {
			c.setLocked(stateConnecting, nil)
			changed = c.changed
			c.work.Go(func() { c.attempt(nil) })
		}
		c.mu.Unlock()
		switch state {
		case stateUp:
			return m, nil
		case stateDown, stateRefused, stateClosed:
			return nil, cause
		}
		timer := time.NewTimer(c.cfg.Timeout)
		select {
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
			return nil, c.unavailable("connect: no answer within %v", c.cfg.Timeout)
		}
		timer.Stop()
	}
}

// attempt connects while callers wait. last is the membership before, if any.
func (c *conn) attempt(last *member) {
	m, err := c.connect()
	if err != nil && provider.IsOutage(err) {
		c.lost(last, err)
		return
	}
	c.settle(m, err)
}

// connect joins the library's epoch and logs in.
func (c *conn) connect() (*member, error) {
	cfg := c.cfg
	if c.serial != "" {
		cfg.Serial = c.serial
	}
	defer c.startTurn()()
	m, err := c.lib.join(c, cfg)
	if err != nil {
		return nil, err
	}
	if err := c.enter(m, c.logIn); err != nil {
		_ = c.lib.leave(c, c.cfg.Timeout) // the reason to leave says more than what comes of leaving
		return nil, err
	}
	c.serial = m.info.Serial
	return m, nil
}

// logIn opens the session that is held for the epoch, logs in with it and reads the mechanisms.
func (c *conn) logIn(m *member) error {
	var err error
	if m.login, err = c.lib.p11.OpenSession(m.info.Slot, sessionFlags(m.info)); err != nil {
		return c.fail("C_OpenSession", err)
	}
	if m.mechanisms, err = c.readMechanisms(m.info.Slot); err != nil {
		return err
	}
	m.slots = make(chan struct{}, sessionLimit(c.cfg.Sessions, m.info.maxSessions))
	if c.cfg.PIN == nil || m.info.flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	m.loggedIn = true
	return c.pin.present(c.life, m.info, func(pin string) error {
		err := c.lib.p11.Login(m.login, pkcs11.CKU_USER, pin)
		if errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
			return nil // another Token of this process is on the same token
		}
		return c.fail("C_Login", err)
	})
}

func (c *conn) readMechanisms(slot uint) (map[uint]mechanismInfo, error) {
	list, err := c.lib.p11.GetMechanismList(slot)
	if err != nil {
		return nil, c.fail("C_GetMechanismList", err)
	}
	mechanisms := make(map[uint]mechanismInfo, len(list))
	for _, m := range list {
		info, err := c.lib.p11.GetMechanismInfo(slot, []*pkcs11.Mechanism{m})
		if err == nil { // a mechanism that the token lists and can't describe is none
			mechanisms[m.Mechanism] = mechanismInfo{info.MinKeySize, info.MaxKeySize, info.Flags}
		}
	}
	return mechanisms, nil
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

// rejoin connects again after another Token on the module has started it afresh. Callers wait for it as for the first
// connection.
func (c *conn) rejoin(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member == m && c.state == stateUp {
		c.setLocked(stateConnecting, nil)
		c.work.Go(func() { c.attempt(m) })
	}
}

// lost takes the connection down, if m is its current membership, and starts the recovery.
func (c *conn) lost(m *member, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.member != m || c.state != stateUp && c.state != stateConnecting {
		return
	}
	c.setLocked(stateDown, err)
	c.cfg.Logger.Warn("token lost", slog.String("token", c.cfg.name()), slog.Any("error", err))
	c.work.Go(func() { c.recover(m) })
}

// recover starts the module afresh and connects, until that works, or can't ever.
func (c *conn) recover(m *member) {
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		select {
		case <-c.life.Done():
			return
		case <-time.After(delay/2 + rand.N(delay/2)):
		}
		if m != nil {
			if err := c.lib.restart(m.epoch, c.cfg.Timeout); err != nil {
				c.stillDown(err)
				continue
			}
		}
		next, err := c.connect()
		if err == nil || !provider.IsOutage(err) {
			c.settle(next, err)
			return
		}
		c.stillDown(err)
	}
}

// stillDown keeps the latest reason for the callers who ask.
func (c *conn) stillDown(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateDown {
		c.cause = err
	}
}

// setLocked changes the state and wakes those who wait for it.
func (c *conn) setLocked(s state, cause error) {
	c.state, c.cause = s, cause
	close(c.changed)
	c.changed = make(chan struct{})
}

// close ends the connection. Calls in flight get the time limit; if one does not come back, the module stays as it is.
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
	go func() {
		c.work.Wait()
		err := c.lib.leave(c, c.cfg.Timeout)
		c.pin.wipe()
		c.lib.unload()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * c.cfg.Timeout):
		return c.unavailable("close: a call into the module has not come back within %v", 2*c.cfg.Timeout)
	}
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

// sessionFlags asks for a read/write session except on a token that can't be written to.
func sessionFlags(t TokenInfo) uint {
	if t.flags&pkcs11.CKF_WRITE_PROTECTED != 0 {
		return pkcs11.CKF_SERIAL_SESSION
	}
	return pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
}

// newError wraps a code of the module; any other error is of crypto11 or of this process and stays as it is.
func newError(token, call string, err error) error {
	var code pkcs11.Error
	if errors.As(err, &code) {
		return &Error{Token: token, Call: call, Code: uint(code)}
	}
	return fmt.Errorf("%s: %w: %w", call, provider.ErrUnavailable, err)
}
