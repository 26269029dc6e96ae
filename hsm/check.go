//go:build cgo

package hsm

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// check asks the token, off the caller's path, whether it is there: one code is no proof of an outage. The answer is known when
// done is closed.
func (c *conn) check(m *member, cause error) (done <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.checking != nil:
	case c.state.State == StateUp && c.member == m:
		m.checking = make(chan struct{})
		c.work.Go(func() { c.examine(m, cause) })
	default:
		return known
	}
	return m.checking
}

// known is closed.
var known = func() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}()

// examine acts on what the token says.
func (c *conn) examine(m *member, cause error) {
	err := c.ask(m)
	switch {
	case err == nil && m.full(cause):
		c.restart(m, cause, c.startAfresh)
	case err == nil || c.life.Err() != nil:
	case errors.Is(err, errEpoch):
		c.rejoin(m)
	case errors.Is(err, errLogin):
		c.restart(m, err, func() (*member, error) { return c.resume(m) })
	case cause != nil:
		c.lost(m, cause)
	default:
		c.lost(m, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	close(m.checking)
	m.checking = nil
}

// full tells whether err may mean that a module which is there has no room left for another key: an operation with one could not
// begin, for a reason that is not told.
func (m *member) full(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && quirksOf(m.info).keepsRoom && e.Code == pkcs11.CKR_GENERAL_ERROR &&
		slices.Contains([]string{"C_SignInit", "C_DecryptInit", "C_GenerateKeyPair"}, e.Call)
}

// ask returns what the probe says within the time that it has.
func (c *conn) ask(m *member) error {
	limit := min(c.cfg.Timeout, c.cfg.pace.probe)
	if quirksOf(m.info).oneCallAtATime {
		limit = c.cfg.Timeout // it may have to wait for a long call of another Token
	}
	ctx := withLimit(c.life, limit)
	defer ctx.end()
	only := cap(m.slots) == 1
	if only {
		select {
		case m.slots <- struct{}{}:
		case <-ctx.Done():
			return nil // the only operation that there can be is under way, and is watched itself
		}
	}
	var asked atomic.Bool
	err := c.fly(ctx, m, func(m *member) error {
		asked.Store(true)
		return c.probe(m)
	}, only)
	if err != nil && !asked.Load() && quirksOf(m.info).oneCallAtATime && !errors.Is(err, errEpoch) {
		return nil // and so is the call of another Token that has the turn
	}
	return err
}

// probe returns nil if the token of m is there, and the session that is held for the epoch still logged in. It opens no session:
// there may be none left on a token that is well. It draws a random byte, because some modules answer the rest from a cache.
func (c *conn) probe(m *member) error {
	if err := c.there(m, m.login); err != nil || m.info.flags&pkcs11.CKF_RNG == 0 {
		return err
	}
	_, err := c.p11.GenerateRandom(m.login, 1)
	return c.fail("C_GenerateRandom", err)
}

// there is probe by any session. Objects that are not found, and handles that are not valid, prove nothing without it: SoftHSM2 shows
// no private objects without a login, and none at all without its token.
func (c *conn) there(m *member, s pkcs11.SessionHandle) error {
	if err := c.present(m); err != nil {
		return err
	}
	user, err := c.isUser(s)
	if err == nil && m.loggedIn && !user && s != m.login { // some modules tell of the login on its own session alone
		user, err = c.isUser(m.login)
	}
	if err == nil && m.loggedIn && !user {
		err = errLogin
	}
	return err
}

// isUser tells whether a session says that it is logged in. errLogin if it is gone.
func (c *conn) isUser(s pkcs11.SessionHandle) (bool, error) {
	info, err := c.p11.GetSessionInfo(s)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID)) || errors.Is(err, pkcs11.Error(pkcs11.CKR_SESSION_CLOSED)) {
		return false, errLogin
	}
	return info.State == pkcs11.CKS_RO_USER_FUNCTIONS || info.State == pkcs11.CKS_RW_USER_FUNCTIONS, c.fail("C_GetSessionInfo", err)
}

// present returns nil if the token of m still answers, and is still the same.
func (c *conn) present(m *member) error {
	raw, err := c.tokenInfo(m)
	if err != nil {
		return c.fail("C_GetTokenInfo", err)
	}
	if serial := trim(raw.SerialNumber); serial != m.info.Serial {
		return c.unavailable("another token, serial %s, is in the slot", quote(serial))
	}
	return nil
}

// SoftHSM2 writes a token's file anew at each login. Who asks another process for the token's info meanwhile is answered
// CKR_GENERAL_ERROR, or an info without a serial number: for 1 to 13 ms beside two processes that did nothing but log in.
const (
	tornReads = 10
	tornPause = 5 * time.Millisecond
)

// tokenInfo is C_GetTokenInfo, asked again where another process may just be writing what it is read from.
func (c *conn) tokenInfo(m *member) (raw pkcs11.TokenInfo, err error) {
	for reads := 1; ; reads++ {
		raw, err = c.p11.GetTokenInfo(m.info.Slot)
		torn := errors.Is(err, pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)) || err == nil && m.info.Serial != "" && trim(raw.SerialNumber) == ""
		if !torn || reads == tornReads || !quirksOf(m.info).writersInTurn {
			return raw, err
		}
		time.Sleep(tornPause)
	}
}

// keepAlive asks the token at each interval, so that it does not close a connection that lies idle, and so that its absence is noticed
// before a caller does. It closes the sessions that were idle for the whole interval.
func (c *conn) keepAlive(m *member) {
	ticker := time.NewTicker(c.cfg.KeepAlive)
	defer ticker.Stop()
	for {
		_, changed := c.status()
		if c.up.Load() != m {
			return
		}
		select {
		case <-ticker.C:
			<-c.check(m, nil)
			_ = c.enter(c.life, m, func(m *member) error { // or m has ended, and its sessions with it
				c.trim(m, false)
				return nil
			})
		case <-changed:
		}
	}
}
