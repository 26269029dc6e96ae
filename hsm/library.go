//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// library is a PKCS#11 module as this process has it loaded, once for all Tokens on it.
//
// crypto11 initialises the module when the first Token joins and finalises it when the last one leaves. In between lies one
// connection epoch.
type library struct {
	path   string
	args   []byte // Config.InitArgs with a NUL after it; nil: none
	p11    *pkcs11.Ctx
	direct directCalls // nil: not known
	users  int         // Tokens, and others that use it for a moment; guarded by libraries.mu

	// gate is entered by every call into the module, and locked while it is initialised or finalised: C_Finalize crashes the
	// process, on every module that was tried, if another thread is inside. It guards what follows.
	gate    gate
	epoch   uint64 // number of the epoch; 0: not initialised
	epochs  uint64 // so far
	joined  uint64 // members so far
	members map[*conn]*member

	// own tells that we have initialised the module ourselves in this epoch, without crypto11. A module may give each
	// C_GetFunctionList a state of its own, as p11-kit's client does: what crypto11 initialises and logs in to is then not ours, and
	// not even that of a second crypto11.Context. Others want what crypto11 can't give them (crypto11Suits).
	own bool

	// begun tells that the module was initialised for us and C_Finalize has not been accepted since. A refused C_Finalize must not
	// pass for another user of the module at the next C_Initialize.
	begun bool

	// repeats tells that the module gives new objects the handles of others in this epoch (quirks.repeatsHandles).
	repeats atomic.Bool

	// fromMemory tells that the module works from memory (quirks.writesFromMemory).
	fromMemory atomic.Bool

	locked atomic.Int32 // writes of this process that hold the lock on the module's file

	// turn is held by each call into a module that takes one at a time (quirks.oneCallAtATime); nil for others.
	turn chan struct{}
}

// libraries holds the loaded modules by path.
var libraries = struct {
	mu sync.Mutex
	m  map[string]*library
}{m: map[string]*library{}}

// loadLibrary returns the module at path, loaded. The caller calls unload once. provider.ErrInvalid if it is no module, or is in use
// with other initialisation arguments.
func loadLibrary(path, initArgs string) (*library, error) {
	var args []byte
	if initArgs != "" {
		args = append([]byte(initArgs), 0)
	}
	if file, release := searchedFor(path); file != "" {
		path = file
		defer release()
	}
	if strings.Contains(path, "/") {
		if p, err := filepath.EvalSymlinks(path); err == nil {
			path = p
		}
	}
	libraries.mu.Lock()
	defer libraries.mu.Unlock()
	l := libraries.m[path]
	if l == nil {
		p11, direct, err := loadModule(path)
		if err != nil {
			return nil, err
		}
		l = &library{path: path, args: args, p11: p11, direct: direct, members: map[*conn]*member{}}
		libraries.m[path] = l
	}
	if !bytes.Equal(l.args, args) {
		return nil, provider.Invalidf("module %s: this process uses it with other initialisation arguments: want the same for all", path)
	}
	l.users++
	return l, nil
}

// initialize is C_Initialize with the module's arguments, after a C_Finalize that is due.
func (l *library) initialize() error {
	if err := l.finalizeLocked(); err != nil {
		return err
	}
	var options []pkcs11.InitializeOption
	if l.args != nil {
		options = append(options, pkcs11.InitializeWithReserved(unsafe.Pointer(&l.args[0])))
	}
	err := l.p11.Initialize(options...)
	l.begun = !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) // another error may be of a call that was carried out
	return err
}

// finalizeLocked is C_Finalize, if it is due.
func (l *library) finalizeLocked() error {
	if !l.begun {
		return nil
	}
	err := l.p11.Finalize()
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)) {
		err = nil
	}
	l.begun = err != nil
	return err
}

// enter lets a call into the module, and keeps it waiting for its turn where one call at a time is all that the module can take.
func (l *library) enter(ctx context.Context) error {
	if err := l.gate.enter(ctx); err != nil || l.turn == nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		l.gate.leave()
		return ctx.Err()
	}
}

// release is called once for each call that enter has let in, when it is out.
func (l *library) release() {
	if l.turn != nil {
		<-l.turn
	}
	l.gate.leave()
}

// unload gives the module back. One with a thread still inside, or that could not be finalised, stays loaded.
func (l *library) unload() {
	libraries.mu.Lock()
	defer libraries.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), gatePause)
	defer cancel()
	if l.users--; l.users > 0 || !l.gate.lock(ctx) {
		return
	}
	defer l.gate.unlock()
	if l.finalizeLocked() != nil {
		return
	}
	delete(libraries.m, l.path)
	l.p11.Destroy()
}

// join makes c a member of the current epoch, or begins one, on the one token that cfg selects.
func (l *library) join(ctx context.Context, c *conn, cfg Config) (*member, error) {
	if !l.gate.lock(ctx) {
		return nil, errWedged
	}
	defer l.gate.unlock()
	c.tried = l.epoch
	info, err := l.pickLocked(cfg)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Token = c.cfg.name() // the module was asked for its sake
	}
	if err != nil {
		return nil, err
	}
	c11, err := l.startLocked(cfg, info)
	if err != nil {
		return nil, c.fail("C_Initialize", cause(err))
	}
	if l.epoch == 0 {
		l.epochs++
		l.epoch = l.epochs
	}
	c.tried = l.epoch
	if quirksOf(info).oneCallAtATime && l.turn == nil {
		l.turn = make(chan struct{}, 1)
	}
	l.fromMemory.Store(quirksOf(info).writesFromMemory)
	return l.enterLocked(c, &member{info: info, c11: c11}), nil
}

// enterLocked makes m the membership of c.
func (l *library) enterLocked(c *conn, m *member) *member {
	l.joined++
	m.epoch = l.joined
	l.members[c] = m
	return m
}

// renew gives c a new membership of the same epoch, without the sessions of the old one. errEpoch if that has ended.
func (l *library) renew(ctx context.Context, c *conn, old *member) (*member, error) {
	if !l.gate.lock(ctx) {
		return nil, errWedged
	}
	defer l.gate.unlock()
	if l.members[c] != old {
		return nil, errEpoch
	}
	c.closeSessions(old)
	return l.enterLocked(c, &member{info: old.info, c11: old.c11, c11Lost: true}), nil
}

// leave ends c's membership, if it has one; the last one to leave finalises the module.
func (l *library) leave(c *conn, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if !l.has(ctx, c) {
		return nil
	}
	if !l.gate.lock(ctx) {
		return errWedged
	}
	defer l.gate.unlock()
	m := l.members[c]
	if m == nil {
		return nil
	}
	delete(l.members, c)
	c.closeSessions(m)
	if m.c11 != nil {
		_ = m.c11.Close() // finalises the module if it is the last one; see endLocked
	}
	if len(l.members) == 0 || m.c11 != nil && !l.hasCrypto11Locked() {
		return c.fail("C_Finalize", l.endLocked())
	}
	return nil
}

// has tells whether c is a member, or may be one when ctx has ended.
func (l *library) has(ctx context.Context, c *conn) bool {
	if l.gate.enter(ctx) != nil {
		return true
	}
	defer l.gate.leave()
	return l.members[c] != nil
}

// end ends the given epoch, if it lasts still, so that the next join initialises the module afresh.
func (l *library) end(ctx context.Context, epoch uint64) error {
	if !l.gate.lock(ctx) {
		return errWedged
	}
	defer l.gate.unlock()
	if l.epoch == epoch {
		_ = l.endLocked() // the next C_Initialize shows what comes of it
	}
	return nil
}

// endLocked finalises the module under all its members, who notice when they next call it. crypto11 has done so already, unless its
// C_Finalize was refused: then it is called once more.
func (l *library) endLocked() error {
	for c, m := range l.members {
		if m.c11 != nil {
			_ = m.c11.Close() // on a dead token the sessions and C_Finalize may fail; there is nothing more to do about them
		}
		delete(l.members, c)
	}
	l.epoch, l.own = 0, false
	l.repeats.Store(false)
	return l.finalizeLocked()
}

// errWedged means the module can be neither initialised nor finalised for now, and never if the call stays away.
var errWedged = fmt.Errorf("%w: a call into the module has not come back, so it can't be started afresh: if it stays away, only a new process helps", provider.ErrUnavailable)
