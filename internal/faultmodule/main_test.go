//go:build cgo && unix

package faultmodule_test

import (
	"os"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

const label = "fault"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		child(path)
	}
	os.Exit(softhsmtest.Main(m, label))
}

// user is a program that uses a module by itself.
type user struct {
	*pkcs11.Ctx
	m *faultmodule.Module
}

// load loads a new module without initialising it.
func load(t testing.TB) user {
	t.Helper()
	m := faultmoduletest.New(t)
	p := pkcs11.New(m.Path)
	require.NotNil(t, p)
	t.Cleanup(p.Destroy)
	return user{p, m}
}

// start loads and initialises a new module.
func start(t testing.TB) user {
	t.Helper()
	u := load(t)
	require.NoError(t, u.Initialize())
	t.Cleanup(func() {
		u.m.Clear()
		_ = u.Finalize() // the test may have done so
	})
	return u
}

// slot is that of the token.
func (u user) slot(t testing.TB) uint {
	t.Helper()
	slots, err := u.GetSlotList(true)
	require.NoError(t, err)
	for _, slot := range slots {
		info, err := u.GetTokenInfo(slot)
		require.NoError(t, err)
		if info.Label == label {
			return slot
		}
	}
	t.Fatal("the token is not shown")
	return 0
}

// open opens a read/write session.
func (u user) open(t testing.TB) pkcs11.SessionHandle {
	t.Helper()
	s, err := u.OpenSession(u.slot(t), pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	return s
}

// logIn opens a session that is logged in.
func (u user) logIn(t testing.TB) pkcs11.SessionHandle {
	t.Helper()
	s := u.open(t)
	require.NoError(t, u.Login(s, pkcs11.CKU_USER, pin(t)))
	return s
}

func pin(t testing.TB) string {
	t.Helper()
	return string(softhsmtest.Token(t, label).PIN.Expose())
}

// generate makes an EC key pair that lives as long as the session.
func (u user) generate(s pkcs11.SessionHandle) (private pkcs11.ObjectHandle, err error) {
	p256 := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	_, private, err = u.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p256), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)})
	return private, err
}

func (u user) signInit(s pkcs11.SessionHandle, key pkcs11.ObjectHandle) error {
	return u.SignInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}, key)
}

func code(ckr uint) error { return pkcs11.Error(ckr) }
