//go:build cgo

package hsm

import "github.com/miekg/pkcs11"

// module is the PKCS#11 module as one connection calls it. Each method is miekg's of the same name, counted; those that end an
// operation, and the reading of attributes, have a call of our own (final, attributes).
type module struct {
	ctx    *pkcs11.Ctx
	direct directCalls // nil: not known
	*counters
}

func (m module) Initialize() error { return m.count(fnInitialize, m.ctx.Initialize()) }

func (m module) Finalize() error { return m.count(fnFinalize, m.ctx.Finalize()) }

func (m module) GetTokenInfo(slot uint) (pkcs11.TokenInfo, error) {
	info, err := m.ctx.GetTokenInfo(slot)
	return info, m.count(fnGetTokenInfo, err)
}

func (m module) GetMechanismList(slot uint) ([]*pkcs11.Mechanism, error) {
	list, err := m.ctx.GetMechanismList(slot)
	return list, m.count(fnGetMechanismList, err)
}

func (m module) GetMechanismInfo(slot uint, mech []*pkcs11.Mechanism) (pkcs11.MechanismInfo, error) {
	info, err := m.ctx.GetMechanismInfo(slot, mech)
	return info, m.count(fnGetMechanismInfo, err)
}

func (m module) OpenSession(slot, flags uint) (pkcs11.SessionHandle, error) {
	s, err := m.ctx.OpenSession(slot, flags)
	return s, m.count(fnOpenSession, err)
}

func (m module) CloseSession(s pkcs11.SessionHandle) error {
	return m.count(fnCloseSession, m.ctx.CloseSession(s))
}

func (m module) GetSessionInfo(s pkcs11.SessionHandle) (pkcs11.SessionInfo, error) {
	info, err := m.ctx.GetSessionInfo(s)
	return info, m.count(fnGetSessionInfo, err)
}

// Login passes an empty PIN as NULL: the token then asks for it by a way of its own.
func (m module) Login(s pkcs11.SessionHandle, user uint, pin string) error {
	return m.count(fnLogin, m.ctx.Login(s, user, pin))
}

func (m module) CreateObject(s pkcs11.SessionHandle, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	h, err := m.ctx.CreateObject(s, a)
	return h, m.count(fnCreateObject, err)
}

func (m module) DestroyObject(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) error {
	return m.count(fnDestroyObject, m.ctx.DestroyObject(s, h))
}

func (m module) GetAttributeValue(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, a []*pkcs11.Attribute) ([]*pkcs11.Attribute, error) {
	values, err := m.ctx.GetAttributeValue(s, h, a)
	return values, m.count(fnGetAttributeValue, err)
}

func (m module) SetAttributeValue(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, a []*pkcs11.Attribute) error {
	return m.count(fnSetAttributeValue, m.ctx.SetAttributeValue(s, h, a))
}

func (m module) FindObjectsInit(s pkcs11.SessionHandle, a []*pkcs11.Attribute) error {
	return m.count(fnFindObjectsInit, m.ctx.FindObjectsInit(s, a))
}

func (m module) FindObjects(s pkcs11.SessionHandle, most int) ([]pkcs11.ObjectHandle, error) {
	found, _, err := m.ctx.FindObjects(s, most)
	return found, m.count(fnFindObjects, err)
}

func (m module) FindObjectsFinal(s pkcs11.SessionHandle) error {
	return m.count(fnFindObjectsFinal, m.ctx.FindObjectsFinal(s))
}

func (m module) EncryptInit(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error {
	return m.count(fnEncryptInit, m.ctx.EncryptInit(s, mech, key))
}

func (m module) Encrypt(s pkcs11.SessionHandle, data []byte, room int) ([]byte, error) {
	return m.final(fnEncrypt, m.ctx.Encrypt, s, data, room)
}

func (m module) DecryptInit(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error {
	return m.count(fnDecryptInit, m.ctx.DecryptInit(s, mech, key))
}

func (m module) Decrypt(s pkcs11.SessionHandle, data []byte, room int) ([]byte, error) {
	return m.final(fnDecrypt, m.ctx.Decrypt, s, data, room)
}

func (m module) SignInit(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error {
	return m.count(fnSignInit, m.ctx.SignInit(s, mech, key))
}

func (m module) Sign(s pkcs11.SessionHandle, data []byte, room int) ([]byte, error) {
	return m.final(fnSign, m.ctx.Sign, s, data, room)
}

func (m module) VerifyInit(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, key pkcs11.ObjectHandle) error {
	return m.count(fnVerifyInit, m.ctx.VerifyInit(s, mech, key))
}

func (m module) Verify(s pkcs11.SessionHandle, data, signature []byte) error {
	return m.count(fnVerify, m.ctx.Verify(s, data, signature))
}

func (m module) GenerateKey(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	h, err := m.ctx.GenerateKey(s, mech, a)
	return h, m.count(fnGenerateKey, err)
}

func (m module) GenerateKeyPair(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, public, private []*pkcs11.Attribute) (pub, priv pkcs11.ObjectHandle, err error) {
	pub, priv, err = m.ctx.GenerateKeyPair(s, mech, public, private)
	return pub, priv, m.count(fnGenerateKeyPair, err)
}

func (m module) WrapKey(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, with, key pkcs11.ObjectHandle) ([]byte, error) {
	out, err := m.ctx.WrapKey(s, mech, with, key)
	return out, m.count(fnWrapKey, err)
}

func (m module) UnwrapKey(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, with pkcs11.ObjectHandle, wrapped []byte, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	h, err := m.ctx.UnwrapKey(s, mech, with, wrapped, a)
	return h, m.count(fnUnwrapKey, err)
}

func (m module) DeriveKey(s pkcs11.SessionHandle, mech []*pkcs11.Mechanism, key pkcs11.ObjectHandle, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	h, err := m.ctx.DeriveKey(s, mech, key, a)
	return h, m.count(fnDeriveKey, err)
}

func (m module) GenerateRandom(s pkcs11.SessionHandle, n int) ([]byte, error) {
	out, err := m.ctx.GenerateRandom(s, n)
	return out, m.count(fnGenerateRandom, err)
}
