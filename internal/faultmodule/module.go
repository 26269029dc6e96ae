//go:build unix

package faultmodule

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Module is a module in a file of its own, and what steers it. One process at a time may have it loaded; it counts on when the next
// one loads it. All methods may be called from many goroutines at once, and none after Close.
type Module struct {
	Path string // to load it from

	control *control
	index   map[string]int // of a function's name

	mu     sync.Mutex // held to arm and disarm faults
	faults [faultCount]*Fault
}

// New makes a module in the directory dir, which does its work through the real module at the path real. [ErrNoCompiler] if it can't be
// compiled. The caller calls Close.
func New(dir, real string) (*Module, error) {
	so, err := library()
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "faultmodule-"); err != nil {
		return nil, err
	}
	m := &Module{Path: filepath.Join(dir, "module.so"), index: map[string]int{}}
	for i, name := range Functions() {
		m.index[name] = i
	}
	if err = os.WriteFile(m.Path, so, 0o700); err == nil {
		m.control, err = newControl(m.Path+".control", real)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return m, nil
}

// Close ends all faults and removes the module's files. Close what has it loaded before.
func (m *Module) Close() error {
	m.Clear()
	return errors.Join(m.control.unmap(), os.RemoveAll(filepath.Dir(m.Path)))
}

// Clear ends all faults, releases all calls that hang, puts the token back and takes all settings back.
func (m *Module) Clear() {
	m.mu.Lock()
	for i := range m.faults {
		m.disarmLocked(i)
	}
	m.mu.Unlock()
	c := m.control
	m.Restore()
	c.sticky.Store(0)
	c.acts.Store(0)
	c.setFlags.Store(0)
	c.clearFlags.Store(0)
	c.sessionLimit.Store(0)
	c.alwaysAuthenticate.Store(0)
	c.labelLimit.Store(0)
	c.shyLogin.Store(0)
	c.pinLen.Store(0)
}

// DropSessions closes all sessions (C_CloseAllSessions) behind their owner's back. Like the two below it happens when the next call comes in,
// before that is carried out, and while no other call is inside the real module.
func (m *Module) DropSessions() { m.control.acts.Or(dropSessions) }

// DropLogin logs out (C_Logout) behind the user's back.
func (m *Module) DropLogin() { m.control.acts.Or(dropLogin) }

// Finalize finalises the real module behind its user's back, as a vendor's daemon that restarts may seem to.
func (m *Module) Finalize() { m.control.acts.Or(finalize) }

// Absence is how tokens are away.
type Absence uint64

// The absences.
const (
	// Unplugged tokens are like a smart card that was pulled out of its reader. The slot stays, without a token; its functions
	// answer CKR_TOKEN_NOT_PRESENT, those of a session CKR_DEVICE_REMOVED.
	Unplugged Absence = iota + 1

	// Unreachable tokens are like those of a network HSM whose line was cut, as p11-kit's client shows them: every function
	// answers CKR_DEVICE_ERROR. C_Finalize and C_Initialize work, and after them there are no slots.
	Unreachable
)

// Remove takes all tokens away, with their sessions, until Restore.
func (m *Module) Remove(a Absence) {
	m.DropSessions()
	m.control.losses.Add(1)
	m.control.away.Store(uint64(a))
}

// RemoveUntilRestart is Remove for a module that shows tokens that are back only after C_Finalize and C_Initialize, however short
// they were away, as most do. Clear ends that.
func (m *Module) RemoveUntilRestart(a Absence) {
	m.control.sticky.Store(uint64(a))
	m.Remove(a)
}

// Restore puts back what Remove took away.
func (m *Module) Restore() { m.control.away.Store(0) }

// SetTokenFlags makes every token show the flags set, and not the flags clear, whatever the real module says. The module acts on
// these: with CKF_WRITE_PROTECTED set it opens no read/write session; with CKF_PROTECTED_AUTHENTICATION_PATH set C_Login without
// a PIN takes the one of SetPIN, as if it were typed on the token; with CKF_LOGIN_REQUIRED cleared it logs in by itself with that.
func (m *Module) SetTokenFlags(set, clear uint) {
	m.control.setFlags.Store(uint64(set))
	m.control.clearFlags.Store(uint64(clear))
}

// SetPIN tells the module the PIN that tokens get by themselves. See SetTokenFlags.
func (m *Module) SetPIN(pin provider.Secret) error {
	if len(pin.Expose()) > len(m.control.pin) {
		return fmt.Errorf("PIN of %d bytes: want at most %d", len(pin.Expose()), len(m.control.pin))
	}
	copy(m.control.pin[:], pin.Expose())
	m.control.pinLen.Store(uint64(len(pin.Expose())))
	return nil
}

// SetSessionLimit makes C_OpenSession answer CKR_SESSION_COUNT when n sessions are open on all tokens, and C_GetTokenInfo say so. 0
// takes it back.
func (m *Module) SetSessionLimit(n int) { m.control.sessionLimit.Store(uint64(n)) }

// SetAlwaysAuthenticate gives private keys that are made while it is on the attribute CKA_ALWAYS_AUTHENTICATE.
func (m *Module) SetAlwaysAuthenticate(on bool) { set(&m.control.alwaysAuthenticate, on) }

// SetShyLogin makes C_GetSessionInfo tell of a login on the session of C_Login alone, as FreeHSM does.
func (m *Module) SetShyLogin(on bool) { set(&m.control.shyLogin, on) }

// SetLabelLimit makes C_CreateObject keep n bytes of a CKA_LABEL, and say nothing of it. 0 takes it back.
func (m *Module) SetLabelLimit(n int) { m.control.labelLimit.Store(uint64(n)) }

func set(v *atomic.Uint64, on bool) {
	var n uint64
	if on {
		n = 1
	}
	v.Store(n)
}
