// Package faultmodule makes PKCS#11 modules that fail on demand, for tests of what uses a token.
//
// Such a module is a small C library that loads a real module, such as SoftHSM2's, and passes every call on to it. The test steers
// it while it runs, in the test's own process or in another one, through memory that both have mapped:
//
//	m, err := faultmodule.New(ctx, t.TempDir(), "/usr/lib/softhsm/libsofthsm2.so")
//	...
//	m.On("C_Sign").After(99).Times(1).Fail(pkcs11.CKR_DEVICE_ERROR)
//	hang := m.On("C_Sign").Hang()
//	defer hang.Release()
//	m.Remove(faultmodule.Unplugged)
//
// It counts the calls of each function, those under way and the open sessions. What it costs a call is some atomic operations:
// well below a microsecond.
//
// The package needs a C compiler (CC, else cc), and no cgo. What loads the module does.
package faultmodule
