//go:build cgo

package hsm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// library is a PKCS#11 module as this process has it loaded, once for all Tokens on it.
//
// crypto11 initialises the module when the first Token joins and finalises it when the last one leaves. In between lies one
// connection epoch.
type library struct {
	path  string
	args  []byte // Config.InitArgs with a NUL after it; nil: none
	p11   *pkcs11.Ctx
	users int // Tokens, and others that use it for a moment; guarded by libraries.mu

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
	if strings.Contains(path, "/") {
		if p, err := filepath.EvalSymlinks(path); err == nil {
			path = p
		}
	}
	libraries.mu.Lock()
	defer libraries.mu.Unlock()
	l := libraries.m[path]
	if l == nil {
		p11 := pkcs11.New(path)
		if p11 == nil {
			return nil, provider.Invalidf("module %s: want a PKCS#11 library: it can't be loaded or has no C_GetFunctionList", path)
		}
		l = &library{path: path, args: args, p11: p11, members: map[*conn]*member{}}
		libraries.m[path] = l
	}
	if !bytes.Equal(l.args, args) {
		return nil, provider.Invalidf("module %s: this process uses it with other initialisation arguments: want the same for all", path)
	}
	l.users++
	return l, nil
}

// initialize is C_Initialize with the module's arguments.
func (l *library) initialize() error {
	if l.args == nil {
		return l.p11.Initialize()
	}
	return l.p11.Initialize(pkcs11.InitializeWithReserved(unsafe.Pointer(&l.args[0])))
}

// unload gives the module back. One with a thread still inside stays loaded.
func (l *library) unload() {
	libraries.mu.Lock()
	defer libraries.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), gatePause)
	defer cancel()
	if l.users--; l.users > 0 || !l.gate.lock(ctx) {
		return
	}
	defer l.gate.unlock()
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

// startLocked opens the token with crypto11, which initialises the module for the first member. It returns nil without an
// error where crypto11 is left out.
func (l *library) startLocked(cfg Config, info TokenInfo) (*crypto11.Context, error) {
	if l.own || !crypto11Suits(cfg, info) {
		return nil, l.startOwnLocked()
	}
	slot := int(info.Slot)
	c11, err := crypto11.Configure(&crypto11.Config{
		Path:              l.path,
		SlotNumber:        &slot,
		LoginNotSupported: true, // one login for both libraries, ours
		MaxSessions:       sessionLimit(cfg.Sessions, info.maxSessions) + 1,
		PoolWaitTimeout:   cfg.Timeout,
	})
	if err != nil {
		l.endLocked() // crypto11 finalises the module when it fails, whoever else is on it
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
		return nil, err
	}
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

// crypto11Suits tells whether crypto11 can open the token: it passes no arguments to C_Initialize, opens read/write sessions
// only, and takes sessions of its own, of which a token with few has none to spare.
func crypto11Suits(cfg Config, info TokenInfo) bool {
	return cfg.InitArgs == "" && info.flags&pkcs11.CKF_WRITE_PROTECTED == 0 && sessionLimit(cfg.Sessions, info.maxSessions) == cfg.Sessions
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
	var err error
	if m.c11 != nil {
		err = m.c11.Close()
	}
	if len(l.members) == 0 || m.c11 != nil && !l.hasCrypto11Locked() {
		l.endLocked()
	}
	return c.fail("C_Finalize", cause(err))
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
		l.endLocked()
	}
	return nil
}

// endLocked finalises the module under all its members, who notice when they next call it.
func (l *library) endLocked() {
	for c, m := range l.members {
		if m.c11 != nil {
			_ = m.c11.Close() // on a dead token the sessions and C_Finalize may fail; there is nothing more to do about them
		}
		delete(l.members, c)
	}
	if l.own {
		_ = l.p11.Finalize()
	}
	l.epoch, l.own = 0, false
}

// errWedged means the module can be neither initialised nor finalised for now, and never if the call stays away.
var errWedged = fmt.Errorf("%w: a call into the module has not come back, so it can't be started afresh: if it stays away, only a new process helps", provider.ErrUnavailable)

// pickLocked returns the token that cfg selects. Without an epoch it initialises the module for as long as it looks.
func (l *library) pickLocked(cfg Config) (TokenInfo, error) {
	tokens, err := l.tokensLocked()
	if err != nil {
		return TokenInfo{}, err
	}
	var found []TokenInfo
	for _, t := range tokens {
		if t.Problem == "" && cfg.matches(t) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return TokenInfo{}, fmt.Errorf("%w: no token with %s: the module shows %s", provider.ErrUnavailable, cfg.selection(), summary(tokens))
	}
	return TokenInfo{}, provider.Invalidf("%d tokens with %s: want one: select by serial number: %s", len(found), cfg.selection(), summary(found))
}

// tokensLocked describes every token of the module.
func (l *library) tokensLocked() ([]TokenInfo, error) {
	if l.epoch == 0 {
		if err := l.initialize(); err != nil {
			return nil, initializeError(l, err)
		}
		defer func() { _ = l.p11.Finalize() }()
	}
	slots, err := l.p11.GetSlotList(true)
	if err != nil {
		return nil, newError("", "C_GetSlotList", err)
	}
	module, err := l.p11.GetInfo()
	if err != nil {
		return nil, newError("", "C_GetInfo", err)
	}
	tokens := make([]TokenInfo, len(slots))
	for i, slot := range slots {
		tokens[i] = readToken(l.p11, slot)
		tokens[i].LibraryManufacturer, tokens[i].Library = trim(module.ManufacturerID), trim(module.LibraryDescription)
		tokens[i].LibraryVersion = dotted(module.LibraryVersion)
	}
	return tokens, nil
}

// listTokens is Tokens behind its checks.
func listTokens(ctx context.Context, module, initArgs string) ([]TokenInfo, error) {
	l, err := loadLibrary(module, initArgs)
	if err != nil {
		return nil, err
	}
	defer l.unload()
	limited, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	if !l.gate.lock(limited) {
		return nil, cmp.Or(ctx.Err(), errWedged)
	}
	defer l.gate.unlock()
	return l.tokensLocked()
}

// initializeError says what a refused C_Initialize means.
func initializeError(l *library, err error) error {
	e := newError("", "C_Initialize", err)
	switch {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)):
		return fmt.Errorf("%w: module %s: something else in this process has initialised it already: %v", provider.ErrInvalid, l.path, e)
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_ARGUMENTS_BAD)) && l.args == nil:
		return fmt.Errorf("%w: module %s: it needs initialisation arguments, as NSS does: want Config.InitArgs, or %s in the URI: %v", provider.ErrInvalid, l.path, initReserved, e)
	}
	return e
}

// sessionLimit returns how many sessions the pool may hold: what is wanted, less where the token allows less. One more is
// kept for the login and one by crypto11.
func sessionLimit(want int, most uint) int {
	const kept = 2
	if most == pkcs11.CK_EFFECTIVELY_INFINITE || most == pkcs11.CK_UNAVAILABLE_INFORMATION || most >= uint(want)+kept {
		return want
	}
	return max(1, int(most)-kept)
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

// summary lists tokens in a few words each.
func summary(tokens []TokenInfo) string {
	if len(tokens) == 0 {
		return "no token"
	}
	parts := make([]string, len(tokens))
	for i, t := range tokens {
		parts[i] = fmt.Sprintf("label %s serial %s slot %d", quote(t.Label), quote(t.Serial), t.Slot)
		if t.Problem != "" {
			parts[i] = fmt.Sprintf("slot %d (%s)", t.Slot, t.Problem)
		}
	}
	return strings.Join(parts, "; ")
}
