//go:build cgo

package main

import (
	"os"
	"sync"

	"github.com/miekg/pkcs11"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
)

func attr(typ uint, value any) *pkcs11.Attribute { return pkcs11.NewAttribute(typ, value) }

// rawObjects are objects that are allowed on a token, and that no common tool makes.
var rawObjects = map[string][]*pkcs11.Attribute{
	"junk-certificate": {
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), attr(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509), attr(pkcs11.CKA_SUBJECT, "junk"),
		attr(pkcs11.CKA_VALUE, "no certificate"), attr(pkcs11.CKA_LABEL, "junk certificate"), attr(pkcs11.CKA_ID, []byte{0x10}),
	},
	"junk-point": {
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC), attr(pkcs11.CKA_LABEL, "junk point"),
		attr(pkcs11.CKA_EC_PARAMS, []byte{0x06, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7}), attr(pkcs11.CKA_EC_POINT, []byte{4, 2, 4, 1}),
		attr(pkcs11.CKA_ID, []byte{0x11}),
	},
	"latin1-label": {
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), attr(pkcs11.CKA_LABEL, "caf\xe9\u202e\a"), attr(pkcs11.CKA_VALUE, "x"),
	},
	"expired-secret": {
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET), attr(pkcs11.CKA_LABEL, "old"),
		attr(pkcs11.CKA_VALUE, make([]byte, 8)), attr(pkcs11.CKA_ID, []byte{0x12}), attr(pkcs11.CKA_END_DATE, "20200131"),
		attr(pkcs11.CKA_SENSITIVE, true), attr(pkcs11.CKA_EXTRACTABLE, false), attr(pkcs11.CKA_PRIVATE, false),
	},
	"secret-dates": { // SoftHSM2 keeps the dates of private objects to itself, with CKR_GENERAL_ERROR
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), attr(pkcs11.CKA_LABEL, "dated"),
		attr(pkcs11.CKA_VALUE, make([]byte, 32)), attr(pkcs11.CKA_ID, []byte{0x13}), attr(pkcs11.CKA_END_DATE, "20200131"),
		attr(pkcs11.CKA_SENSITIVE, true), attr(pkcs11.CKA_EXTRACTABLE, false), attr(pkcs11.CKA_PRIVATE, true),
	},
	"nameless-data": {attr(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), attr(pkcs11.CKA_VALUE, "")},
}

// storeRawObjects stores objects on the script's first token.
func storeRawObjects(ts *testscript.TestScript, neg bool, names []string) {
	if neg || len(names) == 0 {
		ts.Fatalf("usage: p11object NAME...")
	}
	// One module in a process has one environment: the scripts take turns.
	moduleTurn.Lock()
	defer moduleTurn.Unlock()
	before, had := os.LookupEnv(softhsm.ConfEnv)
	ts.Check(os.Setenv(softhsm.ConfEnv, ts.Getenv(softhsm.ConfEnv)))
	defer func() {
		if had {
			ts.Check(os.Setenv(softhsm.ConfEnv, before))
		} else {
			ts.Check(os.Unsetenv(softhsm.ConfEnv))
		}
	}()
	p11 := pkcs11.New(ts.Getenv("MODULE"))
	ts.Check(p11.Initialize())
	defer p11.Destroy()
	defer func() { ts.Check(p11.Finalize()) }()
	slots, err := p11.GetSlotList(true)
	ts.Check(err)
	for _, slot := range slots {
		info, err := p11.GetTokenInfo(slot)
		ts.Check(err)
		if info.Label == ts.Getenv("HSMMIRROR_TOKEN") {
			storeIn(ts, p11, slot, names)
			return
		}
	}
	ts.Fatalf("no token %s", ts.Getenv("HSMMIRROR_TOKEN"))
}

func storeIn(ts *testscript.TestScript, p11 *pkcs11.Ctx, slot uint, names []string) {
	s, err := p11.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	ts.Check(err)
	defer func() { ts.Check(p11.CloseSession(s)) }()
	ts.Check(p11.Login(s, pkcs11.CKU_USER, ts.Getenv("PIN")))
	for _, name := range names {
		template, known := rawObjects[name]
		if !known {
			ts.Fatalf("p11object: unknown object %s", name)
		}
		_, err := p11.CreateObject(s, append([]*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, true)}, template...))
		if err != nil {
			ts.Fatalf("%s: %v", name, err)
		}
	}
}

var moduleTurn sync.Mutex
