//go:build cgo

package hsm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

func inspectObjects(ctx context.Context, cfg Config, trace Trace) (TokenObjects, error) {
	v, err := visitModule(cfg.Module, cfg.InitArgs, trace)
	if err != nil {
		return TokenObjects{}, err
	}
	defer v.leave()
	info, err := v.pick(cfg)
	if err != nil {
		return TokenObjects{}, err
	}
	s, err := v.openSession(info, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return TokenObjects{}, err
	}
	defer func() { _ = v.p11.CloseSession(s) }()
	t := TokenObjects{Token: info}
	if t.LoggedIn, err = v.logIn(ctx, s, info, cfg); err != nil {
		return TokenObjects{}, err
	}
	t.Objects, err = v.objects(s, info)
	if err != nil {
		return TokenObjects{}, err
	}
	findAll(t, time.Now())
	return t, nil
}

// pick returns the one token that cfg selects.
func (v *visit) pick(cfg Config) (TokenInfo, error) {
	v.trace.call("C_GetSlotList")
	slots, err := v.p11.GetSlotList(true)
	if err != nil {
		return TokenInfo{}, newError("", "C_GetSlotList", err)
	}
	var all, found []TokenInfo
	for _, slot := range slots {
		t := v.readToken(slot)
		all = append(all, t)
		if t.Problem == "" && cfg.matches(t) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return TokenInfo{}, fmt.Errorf("%w: no token with %s: the module shows %s", provider.ErrUnavailable, cfg.selection(), summary(all))
	}
	return TokenInfo{}, provider.Invalidf("%d tokens with %s: want one: select by serial number: %s", len(found), cfg.selection(), summary(found))
}

func (v *visit) openSession(t TokenInfo, flags uint) (pkcs11.SessionHandle, error) {
	v.trace.call("C_OpenSession")
	s, err := v.p11.OpenSession(t.Slot, flags)
	if err != nil {
		return 0, newError(t.Label, "C_OpenSession", err)
	}
	return s, nil
}

// logIn logs in once, if there is a PIN and the token wants one. It tries nothing on a token that says that the next wrong PIN
// locks it, or that it is locked already.
func (v *visit) logIn(ctx context.Context, s pkcs11.SessionHandle, t TokenInfo, cfg Config) (bool, error) {
	if !cfg.logsIn() || t.flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return false, nil
	}
	if state := t.PINState(); state == "locked" || state == "one try left" || state == "not set" {
		return false, fmt.Errorf("%w: token %s: its user PIN: %s; no PIN is tried", provider.ErrAuth, quote(t.Label), state)
	}
	if cfg.PINPad {
		return v.logInWith(s, t, "")
	}
	pin, err := cfg.PIN(ctx)
	if err != nil {
		return false, fmt.Errorf("%w: PIN of token %s: %w", provider.ErrAuth, quote(t.Label), err)
	}
	defer pin.Wipe()
	if strings.IndexByte(string(pin.Expose()), 0) >= 0 {
		return false, provider.Invalidf("PIN of token %s: it has a NUL byte", quote(t.Label))
	}
	return v.logInWith(s, t, string(pin.Expose()))
}

// logInWith is one C_Login; an empty PIN has the token ask for it.
func (v *visit) logInWith(s pkcs11.SessionHandle, t TokenInfo, pin string) (bool, error) {
	v.trace.call("C_Login")
	if err := v.p11.Login(s, pkcs11.CKU_USER, pin); err != nil {
		return false, newError(t.Label, "C_Login", err)
	}
	return true, nil
}

// objects describes everything that the session may see.
func (v *visit) objects(s pkcs11.SessionHandle, t TokenInfo) ([]ObjectInfo, error) {
	handles, err := v.search(s, t)
	if err != nil {
		return nil, err
	}
	raw, infos := make([]*object, 0, len(handles)), make([]ObjectInfo, 0, len(handles))
	for _, h := range handles {
		o, info := v.object(s, h)
		if o == nil {
			continue // it was destroyed meanwhile
		}
		if o.problem != nil {
			if err := v.present(t); err != nil {
				return nil, err
			}
		}
		raw, infos = append(raw, o), append(infos, info)
	}
	if err := v.present(t); err != nil { // a token that went away may show no objects and no error
		return nil, err
	}
	owners := ownersOf(raw)
	for i, o := range raw {
		infos[i].Object, infos[i].raw = describe(o, owners), o
		if infos[i].isShell() || o.isEmpty() {
			infos[i].Status = StatusHalf
		}
		if o.class == classUnknown {
			infos[i].Class = "unknown"
		}
		infos[i].URI = objectURI(t, infos[i].Object)
	}
	return infos, nil
}

func (v *visit) search(s pkcs11.SessionHandle, t TokenInfo) ([]pkcs11.ObjectHandle, error) {
	v.trace.call("C_FindObjectsInit")
	if err := v.p11.FindObjectsInit(s, nil); err != nil {
		return nil, newError(t.Label, "C_FindObjectsInit", err)
	}
	defer func() { _ = v.p11.FindObjectsFinal(s) }()
	var all []pkcs11.ObjectHandle
	for {
		v.trace.call("C_FindObjects")
		handles, _, err := v.p11.FindObjects(s, inspectStep)
		if err != nil {
			return nil, newError(t.Label, "C_FindObjects", err)
		}
		if len(handles) == 0 {
			return all, t.cutShort(len(all))
		}
		all = append(all, handles...)
	}
}

// inspectStep is how many handles one C_FindObjects asks for.
const inspectStep = 512

// present returns nil if the token still answers, and is still the same.
func (v *visit) present(t TokenInfo) error {
	v.trace.call("C_GetTokenInfo")
	raw, err := v.p11.GetTokenInfo(t.Slot)
	if err != nil {
		return newError(t.Label, "C_GetTokenInfo", err)
	}
	if serial := trim(raw.SerialNumber); serial != t.Serial {
		return fmt.Errorf("%w: token %s: another token, serial %s, is in the slot", provider.ErrUnavailable, quote(t.Label), quote(serial))
	}
	return nil
}
