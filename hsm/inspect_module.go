//go:build cgo

package hsm

import (
	"github.com/miekg/pkcs11"
)

// visit is one look at a module, from C_Initialize to C_Finalize, apart from the connections of Tokens.
type visit struct {
	p11         *pkcs11.Ctx
	asksLengths bool // see TokenInfo
	trace       Trace
	info        pkcs11.Info
}

// visitModule loads and initialises the module at path. The caller calls leave.
func visitModule(path, initArgs string, trace Trace) (*visit, error) {
	trace.call("dlopen")
	p11, direct, err := loadModule(path)
	if err != nil {
		return nil, err
	}
	l := &library{path: path, p11: p11} // of nobody else, and in no list
	if initArgs != "" {
		l.args = append([]byte(initArgs), 0)
	}
	trace.call("C_Initialize")
	if err := l.initialize(); err != nil {
		p11.Destroy()
		return nil, initializeError(l, err)
	}
	v := &visit{p11: p11, asksLengths: direct == nil, trace: trace}
	trace.call("C_GetInfo")
	if v.info, err = p11.GetInfo(); err != nil {
		v.leave()
		return nil, newError("", "C_GetInfo", err)
	}
	return v, nil
}

// leave finalises and unloads the module. Nothing can be done about one that refuses.
func (v *visit) leave() {
	v.trace.call("C_Finalize")
	_ = v.p11.Finalize()
	v.p11.Destroy()
}

func inspectModule(path, initArgs string, trace Trace) (ModuleInfo, error) {
	v, err := visitModule(path, initArgs, trace)
	if err != nil {
		return ModuleInfo{}, err
	}
	defer v.leave()
	m := ModuleInfo{
		Path: path, Manufacturer: trim(v.info.ManufacturerID), Description: trim(v.info.LibraryDescription),
		Version: dotted(v.info.LibraryVersion), Cryptoki: dotted(v.info.CryptokiVersion),
	}
	trace.call("C_GetSlotList")
	slots, err := v.p11.GetSlotList(false)
	if err != nil {
		return ModuleInfo{}, newError("", "C_GetSlotList", err)
	}
	for _, slot := range slots {
		m.Slots = append(m.Slots, v.slot(slot))
	}
	return m, nil
}

// slot describes a slot and the token in it.
func (v *visit) slot(id uint) SlotInfo {
	s := SlotInfo{ID: id}
	v.trace.call("C_GetSlotInfo")
	raw, err := v.p11.GetSlotInfo(id)
	if err != nil {
		s.Problem = newError("", "C_GetSlotInfo", err).Error()
		return s
	}
	s.Description, s.Manufacturer = trim(raw.SlotDescription), trim(raw.ManufacturerID)
	s.Hardware, s.Firmware = dotted(raw.HardwareVersion), dotted(raw.FirmwareVersion)
	s.Flags = flagNames(slotFlags, raw.Flags)
	if raw.Flags&pkcs11.CKF_TOKEN_PRESENT != 0 {
		s.Token, s.Problem = v.token(id)
	}
	return s
}

func (v *visit) token(slot uint) (*TokenDetails, string) {
	t := &TokenDetails{TokenInfo: v.readToken(slot)}
	if t.Problem != "" {
		return nil, t.Problem
	}
	raw, err := v.p11.GetTokenInfo(slot)
	if err != nil {
		return nil, newError("", "C_GetTokenInfo", err).Error()
	}
	t.Sessions, t.MaxSessions = count(raw.SessionCount), count(raw.MaxSessionCount)
	t.RWSessions, t.MaxRWSessions = count(raw.RwSessionCount), count(raw.MaxRwSessionCount)
	t.PublicMemory, t.FreePublicMemory = count(raw.TotalPublicMemory), count(raw.FreePublicMemory)
	t.PrivateMemory, t.FreePrivateMemory = count(raw.TotalPrivateMemory), count(raw.FreePrivateMemory)
	t.MinPIN, t.MaxPIN = count(raw.MinPinLen), count(raw.MaxPinLen)
	if raw.Flags&pkcs11.CKF_CLOCK_ON_TOKEN != 0 {
		t.Clock = trim(raw.UTCTime)
	}
	if t.Mechanisms, err = v.mechanisms(slot); err != nil {
		return t, err.Error()
	}
	t.Algs = supportOf(t.TokenInfo, t.Mechanisms)
	return t, ""
}

// readToken describes the token in a slot, with what the library says of itself.
func (v *visit) readToken(slot uint) TokenInfo {
	v.trace.call("C_GetTokenInfo")
	t := readToken(v.p11, slot)
	t.LibraryManufacturer, t.Library, t.LibraryVersion = trim(v.info.ManufacturerID), trim(v.info.LibraryDescription), dotted(v.info.LibraryVersion)
	t.asksLengths = v.asksLengths
	return t
}

func (v *visit) mechanisms(slot uint) ([]Mechanism, error) {
	v.trace.call("C_GetMechanismList")
	list, err := v.p11.GetMechanismList(slot)
	if err != nil {
		return nil, newError("", "C_GetMechanismList", err)
	}
	mechanisms := make([]Mechanism, 0, len(list))
	for _, raw := range list {
		m := Mechanism{Type: raw.Mechanism, Name: mechanismName(raw.Mechanism), Algs: algsThatNeed(raw.Mechanism)}
		v.trace.call("C_GetMechanismInfo")
		info, err := v.p11.GetMechanismInfo(slot, []*pkcs11.Mechanism{raw})
		if err != nil {
			m.Problem = newError("", "C_GetMechanismInfo", err).Error()
		} else {
			m.MinKey, m.MaxKey, m.Flags = info.MinKeySize, info.MaxKeySize, flagNames(mechanismFlags, info.Flags)
		}
		mechanisms = append(mechanisms, m)
	}
	return mechanisms, nil
}

// count reads a CK_ULONG of CK_TOKEN_INFO. CK_UNAVAILABLE_INFORMATION is all ones; modules of another word size, behind a
// remoting protocol, give it as 32 ones.
func count(n uint) int {
	if n == pkcs11.CK_UNAVAILABLE_INFORMATION || n == 0xFFFFFFFF || int(n) < 0 {
		return Unknown
	}
	return int(n)
}
