//go:build cgo

package hsm

import (
	"context"
	"errors"
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
			return all, nil
		}
		all = append(all, handles...)
	}
}

// classUnknown is the class of an object that does not tell its own: no module may use the number (CK_UNAVAILABLE_INFORMATION).
const classUnknown = ^uint(0)

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

// object reads an object, one attribute at a time: some modules refuse all of them when one is unknown or broken. It returns nil
// for an object that is gone.
func (v *visit) object(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) (*object, ObjectInfo) {
	o, info := &object{handle: uint(h), class: classUnknown}, ObjectInfo{}
	class, err := v.value(s, h, ckaClass)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)) {
		return nil, info
	}
	if n, ok := ulong(class); err == nil && ok {
		o.class = n
	} else {
		o.problem = fmt.Errorf("CKA_CLASS can't be read: %w", newError("", "C_GetAttributeValue", err))
	}
	label, _ := v.value(s, h, ckaLabel)
	o.label = string(label)
	o.id, _ = v.value(s, h, ckaID)
	keyType, _ := v.value(s, h, ckaKeyType)
	o.keyType, _ = ulong(keyType)
	list, known := attributesOf[o.class]
	if !known {
		list = everyObject
	}
	for _, a := range list {
		v.attribute(s, h, a, o, &info)
	}
	if o.class == ckoPrivateKey || o.class == ckoSecretKey {
		o.evidence = evidenceOf(info)
	}
	return o, info
}

// attribute reads one attribute into o, as far as it is of use there, and into info.
func (v *visit) attribute(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, a readable, o *object, info *ObjectInfo) {
	b, err := v.value(s, h, a.typ)
	switch {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)), errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)):
		return // the object has no such attribute, or keeps it to itself
	case err != nil:
		var code pkcs11.Error
		errors.As(err, &code)
		info.Unreadable = append(info.Unreadable, a.name+": "+codeName(uint(code)))
		return
	}
	o.set(a.typ, b)
	if value := a.kind.decode(b); value != nil {
		info.Attributes = append(info.Attributes, Attribute{a.name, value})
	}
}

// set keeps what the rest of the package knows how to use.
func (o *object) set(typ uint, b []byte) {
	switch typ {
	case ckaPrivate:
		o.private = isTrue(b)
	case ckaApplication:
		o.application = string(b)
	case ckaValue:
		o.value = b
	case ckaModulus:
		o.modulus = b
	case ckaPublicExponent:
		o.exponent = b
	case ckaECParams:
		o.ecParams = b
	case ckaECPoint:
		o.ecPoint = b
	case ckaPublicKeyInfo:
		o.publicKeyInfo = b
	case ckaValueLen:
		n, _ := ulong(b)
		o.length = int(n)
	}
}

func (v *visit) value(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, typ uint) ([]byte, error) {
	v.trace.call("C_GetAttributeValue")
	read, err := v.p11.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(typ, nil)})
	if err != nil {
		return nil, err
	}
	return read[0].Value, nil
}

// evidenceOf returns what the attributes tell of a key's protection.
func evidenceOf(info ObjectInfo) *provider.Evidence {
	flag := func(name string) *bool {
		if b, ok := info.Attribute(name).(bool); ok {
			return &b
		}
		return nil
	}
	e := &provider.Evidence{
		Sensitive: flag("CKA_SENSITIVE"), Extractable: flag("CKA_EXTRACTABLE"), AlwaysSensitive: flag("CKA_ALWAYS_SENSITIVE"),
		NeverExtractable: flag("CKA_NEVER_EXTRACTABLE"), Local: flag("CKA_LOCAL"),
	}
	e.KeyGenMechanism, _ = info.Attribute("CKA_KEY_GEN_MECHANISM").(string)
	return e
}
