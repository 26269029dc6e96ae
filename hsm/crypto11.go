//go:build cgo

package hsm

import (
	"errors"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"
)

// startLocked opens the token with crypto11, which initialises the module for the first member. It returns nil without an
// error where crypto11 is left out.
func (l *library) startLocked(cfg Config, info TokenInfo) (*crypto11.Context, error) {
	if l.own || !crypto11Suits(cfg, info) {
		return nil, l.startOwnLocked()
	}
	if l.epoch == 0 {
		if err := l.finalizeLocked(); err != nil {
			return nil, err
		}
	}
	slot := int(info.Slot)
	c11, err := crypto11.Configure(&crypto11.Config{
		Path:              l.path,
		SlotNumber:        &slot,
		LoginNotSupported: true, // one login for both libraries, ours
		MaxSessions:       sessionLimit(cfg.Sessions, info.maxSessions) + 1,
		PoolWaitTimeout:   cfg.Timeout,
	})
	l.begun = !errors.Is(cause(err), pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED))
	if err != nil {
		_ = l.endLocked() // crypto11 finalises the module when it fails, whoever else is on it
		return nil, err
	}
	if l.epoch != 0 {
		return c11, nil
	}
	_, err = l.p11.GetSlotList(true)
	if !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)) {
		return c11, nil
	}
	if err := c11.Close(); err != nil {
		return nil, err // and what is left of it is finalised before the next attempt
	}
	l.begun = false // it was for crypto11 only
	return nil, l.startOwnLocked()
}

// startOwnLocked initialises the module without crypto11, unless it is initialised.
func (l *library) startOwnLocked() error {
	if l.epoch != 0 {
		return nil
	}
	err := l.initialize()
	l.own = err == nil
	return err
}

// crypto11Suits tells whether crypto11 can open the token and make keys on it: it passes no arguments to C_Initialize, opens
// read/write sessions only, takes sessions of its own, of which a token with few has none to spare, says what public keys are for, and
// starts the module once more, for which a card is read once more.
func crypto11Suits(cfg Config, info TokenInfo) bool {
	const each = 2 // one session for the login, one that crypto11 holds, and a pool of either
	enough := unlimited(info.maxSessions) || info.maxSessions >= each*uint(cfg.Sessions+1)
	q := quirksOf(info)
	return cfg.InitArgs == "" && !q.fewUses && !q.writesFromMemory && info.flags&pkcs11.CKF_WRITE_PROTECTED == 0 && enough
}

// hasCrypto11Locked tells whether a member has a crypto11.Context. The last one to close has finalised the module, also under
// members who have none.
func (l *library) hasCrypto11Locked() bool {
	for _, m := range l.members {
		if m.c11 != nil {
			return true
		}
	}
	return false
}

// cause returns the module's own error behind what crypto11 returned.
func cause(err error) error {
	for {
		c, ok := err.(interface{ Cause() error })
		if !ok {
			return err
		}
		err = c.Cause()
	}
}
