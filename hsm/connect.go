//go:build cgo

package hsm

import (
	"context"
	"errors"

	"github.com/miekg/pkcs11"
)

// connect joins the library's epoch and logs in. It joins the next one if another Token ends the epoch meanwhile.
func (c *conn) connect() (*member, error) {
	for {
		m, err := c.connectOnce()
		if !errors.Is(err, errEpoch) || c.life.Err() != nil {
			return m, err
		}
	}
}

func (c *conn) connectOnce() (*member, error) {
	cfg := c.cfg
	if c.serial != "" {
		cfg.Serial = c.serial
	}
	ctx, cancel := context.WithTimeout(c.life, c.cfg.Timeout)
	defer cancel()
	done := c.startTurn()
	m, err := c.lib.join(ctx, c, cfg)
	done()
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
	c.serial = m.info.Serial
	return m, nil
}

// prepare opens the session that is held for the epoch, and reads the mechanisms. It asks the token for its info afterwards: one
// that goes away meanwhile may show none.
func (c *conn) prepare(m *member) error {
	var err error
	if m.login, err = c.lib.p11.OpenSession(m.info.Slot, sessionFlags(m.info)); err != nil {
		return c.fail("C_OpenSession", err)
	}
	m.slots = make(chan struct{}, sessionLimit(c.cfg.Sessions, m.info.maxSessions))
	if m.mechanisms, err = c.readMechanisms(m.info.Slot); err != nil {
		return err
	}
	return c.present(m)
}

// logIn logs in, if there is a PIN and the token wants one. The PIN's source is asked outside the module: others may want to
// start or end it while a person types.
func (c *conn) logIn(m *member) error {
	if c.cfg.PIN == nil || m.info.flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	m.loggedIn = true
	return c.pin.present(c.life, m.info, func(pin string) error {
		return c.enter(c.life, m, func(*member) error {
			err := c.lib.p11.Login(m.login, pkcs11.CKU_USER, pin)
			if errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
				err = nil // another Token of this process is on the same token
			}
			return c.fail("C_Login", err)
		})
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

// sessionFlags asks for a read/write session except on a token that can't be written to.
func sessionFlags(t TokenInfo) uint {
	if t.flags&pkcs11.CKF_WRITE_PROTECTED != 0 {
		return pkcs11.CKF_SERIAL_SESSION
	}
	return pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
}
