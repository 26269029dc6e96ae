//go:build cgo

package hsm

import (
	"context"
	"errors"

	"github.com/miekg/pkcs11"
)

// check asks the token, off the caller's path, whether it is there: one code is no proof of an outage. A token that hangs is asked
// once, since it is lost then.
func (c *conn) check(m *member, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateUp || c.member != m || m.checking {
		return
	}
	m.checking = true
	c.work.Go(func() {
		err := c.ask(m, cause)
		c.mu.Lock()
		m.checking = false
		c.mu.Unlock()
		switch {
		case errors.Is(err, errEpoch):
			c.rejoin(m)
		case err != nil && c.life.Err() == nil:
			c.lost(m, err)
		}
	})
}

// ask returns what the probe says, or cause if it says nothing within the time limit.
func (c *conn) ask(m *member, cause error) error {
	ctx, cancel := context.WithTimeout(c.life, c.cfg.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.enter(ctx, m, c.probe) }()
	select {
	case err := <-done:
		if ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
	}
	return cause
}

// probe returns nil if the token of m is there, and the session that is held for the epoch still logged in. It opens no session:
// there may be none left on a token that is well.
func (c *conn) probe(m *member) error {
	if err := c.present(m); err != nil {
		return err
	}
	info, err := c.lib.p11.GetSessionInfo(m.login)
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
