//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// connect joins the library's epoch and logs in. It joins the next one if another Token ends the epoch meanwhile.
func (c *conn) connect() (*member, error) {
	cfg := c.cfg
	if c.seen != nil {
		cfg = cfg.again(*c.seen)
	}
	for {
		m, err := c.enroll(func(ctx context.Context) (*member, error) {
			done := c.startTurn()
			defer done()
			return c.lib.join(ctx, c, cfg)
		})
		if !errors.Is(err, errEpoch) || c.life.Err() != nil {
			return m, err
		}
	}
}

// enroll joins, and makes the membership ready for use.
func (c *conn) enroll(join func(context.Context) (*member, error)) (*member, error) {
	ctx, cancel := context.WithTimeout(c.life, c.cfg.Timeout)
	defer cancel()
	m, err := join(ctx)
	if err != nil {
		return nil, err
	}
	if err = c.enter(c.life, m, c.prepare); err == nil {
		err = c.logIn(m)
	}
	if err != nil {
		_ = c.lib.leave(c, c.cfg.Timeout) // the reason to leave says more than what comes of leaving
		return nil, err
	}
	c.seen = &m.info
	return m, nil
}

// prepare opens the session that is held for the epoch, and reads the mechanisms. It asks the token for its info afterwards: one
// that goes away meanwhile may show none.
func (c *conn) prepare(m *member) error {
	var err error
	if m.login, err = c.p11.OpenSession(m.info.Slot, sessionFlags(m.info)); err != nil {
		return c.fail("C_OpenSession", err)
	}
	m.slots = make(chan struct{}, c.poolSize(m.info))
	if m.alone = m.info.maxSessions == 1; m.alone {
		m.idle, m.opened = []parked{{s: m.login}}, 1
	}
	if m.mechanisms, err = c.readMechanisms(m.info.Slot); err != nil {
		return err
	}
	if err := c.present(m); err != nil || len(m.mechanisms) > 0 {
		return err
	}
	return provider.Unsupportedf("token %s: it has no mechanism, so no key can be used on it: p11-kit-trust.so, for one, holds certificates only", quote(m.info.Label))
}

// logIn logs in, if there is a PIN and the token wants one. The PIN's source is asked outside the module: others may want to
// start or end it while a person types.
func (c *conn) logIn(m *member) error {
	m.loggedIn = c.cfg.logsIn() && m.info.flags&pkcs11.CKF_LOGIN_REQUIRED != 0
	if !m.loggedIn {
		return nil
	}
	login := func(pin string) (already bool, err error) {
		if !c.cfg.PINPad && quirksOf(m.info).writersInTurn { // it writes, and who starts meanwhile misses the token
			defer c.startTurn()()
		}
		err = c.enter(c.life, m, func(*member) error {
			err := c.p11.Login(m.login, pkcs11.CKU_USER, pin)
			if already = errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)); already {
				return nil // another Token of this process is on the same token
			}
			return c.answered(c.fail("C_Login", err))
		})
		return already, err
	}
	if c.cfg.PINPad {
		return c.pin.pad(m.info, login)
	}
	return c.pin.present(c.life, m.info, login)
}

// answered counts what a token said to a login.
func (c *conn) answered(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.history.logins++
	case errors.Is(err, provider.ErrAuth):
		c.history.refusals++
	}
	return err
}

// logInFor logs in for the one operation that was begun on s with a key that has CKA_ALWAYS_AUTHENTICATE (PKCS#11 v3.0 section
// 4.9, CKU_CONTEXT_SPECIFIC). A token that stores the attribute and does not enforce it may not know such a login.
func (c *conn) logInFor(m *member, s pkcs11.SessionHandle) error {
	login := func(pin string) (bool, error) {
		err := c.p11.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, pin)
		if errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_TYPE_INVALID)) {
			return true, nil
		}
		return false, c.answered(c.fail("C_Login", err))
	}
	switch {
	case c.cfg.PINPad:
		return c.pin.pad(m.info, login)
	case c.cfg.PIN == nil:
		return fmt.Errorf("%w: token %s: the key wants the PIN for each operation (CKA_ALWAYS_AUTHENTICATE): want a PIN", provider.ErrAuth, quote(m.info.Label))
	}
	return c.pin.repeat(m.info, login)
}

// poolSize returns how many operations may be under way at once.
func (c *conn) poolSize(t TokenInfo) int {
	if quirksOf(t).oneCallAtATime {
		return 1
	}
	return sessionLimit(c.cfg.Sessions, t.maxSessions)
}

func (c *conn) readMechanisms(slot uint) (map[uint]mechanismInfo, error) {
	list, err := c.p11.GetMechanismList(slot)
	if err != nil {
		return nil, c.fail("C_GetMechanismList", err)
	}
	mechanisms := make(map[uint]mechanismInfo, len(list))
	for _, m := range list {
		info, err := c.p11.GetMechanismInfo(slot, []*pkcs11.Mechanism{m})
		if err == nil { // a mechanism that the token lists and can't describe is none
			mechanisms[m.Mechanism] = mechanismInfo{info.MinKeySize, info.MaxKeySize, info.Flags}
		}
	}
	return mechanisms, nil
}

// sessionFlags asks for a read/write session except on a token that can't be written to.
func sessionFlags(t TokenInfo) uint {
	if t.flags&pkcs11.CKF_WRITE_PROTECTED != 0 {
		return pkcs11.CKF_SERIAL_SESSION
	}
	return pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
}
