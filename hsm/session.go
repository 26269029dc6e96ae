//go:build cgo

package hsm

import (
	"sync"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"
)

// member is a connection's part in one epoch, with all that it has open in it.
type member struct {
	epoch      uint64
	info       TokenInfo
	mechanisms map[uint]mechanismInfo
	c11        *crypto11.Context
	login      pkcs11.SessionHandle // held open: login and handles last as long as it does
	loggedIn   bool
	slots      chan struct{} // holds one value for each operation under way
	checking   bool          // a check of the token is under way; guarded by conn.mu

	mu   sync.Mutex
	idle []pkcs11.SessionHandle // no more than slots allows
}

// open takes an idle session or opens one.
func (c *conn) open(m *member) (pkcs11.SessionHandle, error) {
	if s, ok := m.take(); ok {
		return s, nil
	}
	s, err := c.lib.p11.OpenSession(m.info.Slot, sessionFlags(m.info))
	return s, c.fail("C_OpenSession", err)
}

func (m *member) take() (s pkcs11.SessionHandle, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.idle)
	if n == 0 {
		return 0, false
	}
	s = m.idle[n-1]
	m.idle = m.idle[:n-1]
	return s, true
}

// park puts a session without an open operation back.
func (m *member) park(s pkcs11.SessionHandle) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = append(m.idle, s)
}

// closeSessions closes the idle sessions and the one that is held for the epoch. No operation may be under way.
func (m *member) closeSessions(p11 *pkcs11.Ctx) {
	for {
		s, ok := m.take()
		if !ok {
			_ = p11.CloseSession(m.login)
			return
		}
		_ = p11.CloseSession(s) // on a dead token there is nothing more to do about it
	}
}
