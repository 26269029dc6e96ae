//go:build cgo && unix

package faultmodule_test

import (
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

func TestDroppedSessions(t *testing.T) {
	u := start(t)
	s := u.logIn(t)
	u.m.DropSessions()
	_, err := u.GetSessionInfo(s)
	require.Equal(t, code(pkcs11.CKR_SESSION_HANDLE_INVALID), err)
	require.Zero(t, u.m.Sessions())
	info, err := u.GetSessionInfo(u.open(t))
	require.NoError(t, err)
	require.EqualValues(t, pkcs11.CKS_RW_PUBLIC_SESSION, info.State, "the login went with the last session")
}

func TestADroppedLogin(t *testing.T) {
	u := start(t)
	s := u.logIn(t)
	u.m.DropLogin()
	info, err := u.GetSessionInfo(s)
	require.NoError(t, err)
	require.EqualValues(t, pkcs11.CKS_RW_PUBLIC_SESSION, info.State)
	require.NoError(t, u.Login(s, pkcs11.CKU_USER, pin(t)))
}

func TestAModuleThatIsFinalizedBehindItsUsersBack(t *testing.T) {
	u := start(t)
	s := u.open(t)
	u.m.Finalize()
	_, err := u.GetSessionInfo(s)
	require.Equal(t, code(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED), err)
	require.Zero(t, u.m.Sessions())
	require.NoError(t, u.Initialize())
	u.open(t)
}

// restart is C_Finalize and C_Initialize.
func (u user) restart(t *testing.T) {
	t.Helper()
	require.NoError(t, u.Finalize())
	require.NoError(t, u.Initialize())
}

func TestAnUnpluggedToken(t *testing.T) {
	u := start(t)
	slot, s := u.slot(t), u.logIn(t)
	for range 2 {
		u.m.Remove(faultmodule.Unplugged)
		_, err := u.GetInfo()
		require.NoError(t, err)
		slots, err := u.GetSlotList(true)
		require.NoError(t, err)
		require.Empty(t, slots)
		slots, err = u.GetSlotList(false)
		require.NoError(t, err)
		require.Contains(t, slots, slot)
		info, err := u.GetSlotInfo(slot)
		require.NoError(t, err)
		require.Zero(t, info.Flags&pkcs11.CKF_TOKEN_PRESENT)
		_, err = u.GetTokenInfo(slot)
		require.Equal(t, code(pkcs11.CKR_TOKEN_NOT_PRESENT), err)
		_, err = u.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
		require.Equal(t, code(pkcs11.CKR_TOKEN_NOT_PRESENT), err)
		_, err = u.GetSessionInfo(s)
		require.Equal(t, code(pkcs11.CKR_DEVICE_REMOVED), err)

		u.m.Restore()
		_, err = u.GetSessionInfo(s)
		require.Equal(t, code(pkcs11.CKR_SESSION_HANDLE_INVALID), err, "the session went with the token")
		s = u.logIn(t)
	}
}

func TestAnUnreachableToken(t *testing.T) {
	u := start(t)
	slot, s := u.slot(t), u.logIn(t)
	u.m.Remove(faultmodule.Unreachable)
	for range 2 {
		_, err := u.GetInfo()
		require.Equal(t, code(pkcs11.CKR_DEVICE_ERROR), err)
		_, err = u.GetSlotList(true)
		require.Equal(t, code(pkcs11.CKR_DEVICE_ERROR), err)
		_, err = u.GetTokenInfo(slot)
		require.Equal(t, code(pkcs11.CKR_DEVICE_ERROR), err)
		_, err = u.GetSessionInfo(s)
		require.Equal(t, code(pkcs11.CKR_DEVICE_ERROR), err)
		require.Equal(t, code(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED), u.Initialize())
	}
	u.restart(t)
	_, err := u.GetInfo()
	require.NoError(t, err)
	slots, err := u.GetSlotList(false)
	require.NoError(t, err)
	require.Empty(t, slots)
	_, err = u.GetSlotInfo(slot)
	require.Equal(t, code(pkcs11.CKR_SLOT_ID_INVALID), err)
	_, err = u.GetTokenInfo(slot)
	require.Equal(t, code(pkcs11.CKR_SLOT_ID_INVALID), err)
	_, err = u.GetSessionInfo(s)
	require.Equal(t, code(pkcs11.CKR_SESSION_HANDLE_INVALID), err)

	u.m.Restore()
	u.logIn(t)
}

func TestATokenThatOnlyARestartBringsBack(t *testing.T) {
	for name, how := range map[string]faultmodule.Absence{"unplugged": faultmodule.Unplugged, "unreachable": faultmodule.Unreachable} {
		t.Run(name, func(t *testing.T) {
			u := start(t)
			u.logIn(t)
			u.m.RemoveUntilRestart(how)
			u.m.Restore()
			_, err := u.GetTokenInfo(0)
			require.Contains(t, []error{code(pkcs11.CKR_TOKEN_NOT_PRESENT), code(pkcs11.CKR_DEVICE_ERROR)}, err, "as short as it was")

			u.restart(t)
			u.logIn(t)
			u.m.Remove(how)
			u.restart(t)
			u.m.Restore()
			slots, err := u.GetSlotList(true)
			require.NoError(t, err)
			require.Empty(t, slots, "it was away when the module was initialised")
			u.restart(t)
			u.logIn(t)
		})
	}
}

func TestTokenFlags(t *testing.T) {
	u := start(t)
	slot := u.slot(t)
	flags := func() uint {
		info, err := u.GetTokenInfo(slot)
		require.NoError(t, err)
		return info.Flags
	}
	real := flags()
	require.Zero(t, real&pkcs11.CKF_USER_PIN_FINAL_TRY)
	require.NotZero(t, real&pkcs11.CKF_LOGIN_REQUIRED)
	u.m.SetTokenFlags(pkcs11.CKF_USER_PIN_FINAL_TRY, pkcs11.CKF_LOGIN_REQUIRED)
	require.Equal(t, real&^pkcs11.CKF_LOGIN_REQUIRED|pkcs11.CKF_USER_PIN_FINAL_TRY, flags())
	u.m.SetTokenFlags(0, 0)
	require.Equal(t, real, flags())
}

func TestATokenThatIsWriteProtected(t *testing.T) {
	u := start(t)
	slot := u.slot(t)
	u.m.SetTokenFlags(pkcs11.CKF_WRITE_PROTECTED, 0)
	_, err := u.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.Equal(t, code(pkcs11.CKR_TOKEN_WRITE_PROTECTED), err)
	_, err = u.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	require.NoError(t, err)
}

// state opens a session and returns its state.
func (u user) state(t *testing.T) uint {
	t.Helper()
	info, err := u.GetSessionInfo(u.open(t))
	require.NoError(t, err)
	return info.State
}

func TestATokenThatNeedsNoLogin(t *testing.T) {
	u := start(t)
	require.NoError(t, u.m.SetPIN(softhsmtest.Token(t, label).PIN))
	require.EqualValues(t, pkcs11.CKS_RW_PUBLIC_SESSION, u.state(t))
	u.m.SetTokenFlags(0, pkcs11.CKF_LOGIN_REQUIRED)
	require.EqualValues(t, pkcs11.CKS_RW_USER_FUNCTIONS, u.state(t))
}

func TestATokenWithAKeypad(t *testing.T) {
	u := start(t)
	require.NoError(t, u.m.SetPIN(softhsmtest.Token(t, label).PIN))
	s := u.open(t)
	require.Error(t, u.Login(s, pkcs11.CKU_USER, ""))
	u.m.SetTokenFlags(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH, 0)
	require.NoError(t, u.Login(s, pkcs11.CKU_USER, ""))
	require.EqualValues(t, pkcs11.CKS_RW_USER_FUNCTIONS, u.state(t))
}

func TestATokenThatLimitsItsSessions(t *testing.T) {
	u := start(t)
	slot := u.slot(t)
	u.m.SetSessionLimit(2)
	info, err := u.GetTokenInfo(slot)
	require.NoError(t, err)
	require.EqualValues(t, 2, info.MaxSessionCount)
	require.EqualValues(t, 2, info.MaxRwSessionCount)
	first := u.open(t)
	u.open(t)
	_, err = u.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	require.Equal(t, code(pkcs11.CKR_SESSION_COUNT), err)
	require.NoError(t, u.CloseSession(first))
	u.open(t)
}

func TestKeysThatWantALoginForEachUse(t *testing.T) {
	u := start(t)
	s := u.logIn(t)
	u.m.SetAlwaysAuthenticate(true)
	key, err := u.generate(s)
	require.NoError(t, err)
	got, err := u.GetAttributeValue(s, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_AUTHENTICATE, nil)})
	require.NoError(t, err)
	require.Equal(t, []byte{1}, got[0].Value)

	require.NoError(t, u.signInit(s, key))
	_, err = u.Sign(s, make([]byte, 32))
	require.Equal(t, code(pkcs11.CKR_USER_NOT_LOGGED_IN), err)
	require.NoError(t, u.signInit(s, key))
	require.NoError(t, u.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, pin(t)))
	_, err = u.Sign(s, make([]byte, 32))
	require.NoError(t, err)
}

func TestClearMakesATokenAsItWas(t *testing.T) {
	u := start(t)
	u.m.SetTokenFlags(pkcs11.CKF_WRITE_PROTECTED, 0)
	u.m.SetSessionLimit(1)
	u.m.On().Fail(pkcs11.CKR_DEVICE_ERROR)
	u.m.RemoveUntilRestart(faultmodule.Unreachable)
	u.m.Clear()
	s := u.logIn(t)
	require.NotEqual(t, s, u.open(t))
}

func TestALoginThatShowsOnItsOwnSessionAlone(t *testing.T) {
	u := start(t)
	u.m.SetShyLogin(true)
	s := u.logIn(t)
	info, err := u.GetSessionInfo(s)
	require.NoError(t, err)
	require.EqualValues(t, pkcs11.CKS_RW_USER_FUNCTIONS, info.State)
	require.EqualValues(t, pkcs11.CKS_RW_PUBLIC_SESSION, u.state(t))
	u.m.SetShyLogin(false)
	require.EqualValues(t, pkcs11.CKS_RW_USER_FUNCTIONS, u.state(t))
}

func TestATokenThatShortensLabels(t *testing.T) {
	u := start(t)
	u.m.SetLabelLimit(3)
	s := u.logIn(t)
	o, err := u.CreateObject(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_LABEL, "label")})
	require.NoError(t, err)
	got, err := u.GetAttributeValue(s, o, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
	require.NoError(t, err)
	require.Equal(t, "lab", string(got[0].Value))
}
