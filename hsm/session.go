//go:build cgo

package hsm

import (
	"errors"
	"sync"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"
)

// member is a connection's part in one epoch, with all that it has open in it. A login that is lost and made anew begins another
// one, because objects have to be found again then.
type member struct {
	epoch      uint64
	info       TokenInfo
	mechanisms map[uint]mechanismInfo
	c11        *crypto11.Context    // nil where crypto11 is left out
	c11Lost    bool                 // its sessions are gone; it is there to be closed
	login      pkcs11.SessionHandle // held open: login and handles last as long as it does
	loggedIn   bool
	alone      bool          // the token has no second session: operations use the one of the login
	slots      chan struct{} // holds one value for each operation under way, and for each session that the token has less than promised

	checking chan struct{} // closed at the end of the check of the token that is under way; guarded by conn.mu

	mu     sync.Mutex
	idle   []parked // no more than slots allows
	opened int      // sessions for operations that are open
	fewer  int      // how many sessions less than promised the token has given
	tick   int      // of the keep-alive
}

// parked is an idle session, and the tick at which it was put back.
type parked struct {
	s    pkcs11.SessionHandle
	tick int
}

// errFull means that the token has no session for an operation, though others of the pool are open. Wait for one of those.
var errFull = errors.New("no session left")

// open takes an idle session or opens one.
func (c *conn) open(m *member) (pkcs11.SessionHandle, error) {
	if s, ok := m.take(); ok {
		return s, nil
	}
	s, err := c.p11.OpenSession(m.info.Slot, sessionFlags(m.info))
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.opened++
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_SESSION_COUNT)) && m.opened > 0:
		m.fewer++
		return 0, errFull
	}
	return s, c.fail("C_OpenSession", err)
}

func (m *member) take() (s pkcs11.SessionHandle, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.idle)
	if n == 0 {
		return 0, false
	}
	s = m.idle[n-1].s
	m.idle = m.idle[:n-1]
	return s, true
}

// park puts a session without an open operation back.
func (m *member) park(s pkcs11.SessionHandle) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = append(m.idle, parked{s, m.tick})
}

// discard closes a session on which an operation may be open.
func (c *conn) discard(m *member, s pkcs11.SessionHandle) {
	_ = c.p11.CloseSession(s) // if the token does not know it any more, all the better
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened--
}

// trim closes the sessions that have been idle since the tick before the last one, or all of them, and asks for one session more again
// where the token gave fewer than it had promised.
func (c *conn) trim(m *member, all bool) {
	m.mu.Lock()
	keep := m.idle[:0:0]
	var old []pkcs11.SessionHandle
	for _, p := range m.idle {
		if !m.alone && (all || p.tick < m.tick) {
			old = append(old, p.s)
		} else {
			keep = append(keep, p)
		}
	}
	m.idle = keep
	m.tick++
	more := m.fewer > 0
	if more {
		m.fewer--
	}
	m.mu.Unlock()
	if more {
		<-m.slots
	}
	for _, s := range old {
		c.discard(m, s)
	}
}

// closeSessions closes the idle sessions and the one that is held for the epoch. No operation may be under way.
func (c *conn) closeSessions(m *member) {
	for s, ok := m.take(); ok; s, ok = m.take() {
		if s != m.login {
			c.discard(m, s)
		}
	}
	_ = c.p11.CloseSession(m.login) // on a dead token there is nothing more to do about it
}

// sessionLimit returns how many sessions the pool may hold beside the one of the login: what is wanted, or less where the token
// allows less. A token with one session has none beside it.
func sessionLimit(want int, most uint) int {
	if unlimited(most) || most > uint(want) {
		return want
	}
	return max(1, int(most)-1)
}

// unlimited tells whether a token's count says that there is no limit, or that it is not told.
func unlimited(count uint) bool {
	return count == pkcs11.CK_EFFECTIVELY_INFINITE || count == pkcs11.CK_UNAVAILABLE_INFORMATION
}
