package hsm

import (
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Error is a PKCS#11 call that the token refused or did not answer.
type Error struct {
	Token string // label of the token; empty if none was chosen yet
	Call  string // "C_Sign"
	Code  uint   // CKR_ value, PKCS#11 v3.0 section 5.1

	meaning error // overrides what Code stands for
}

// Error returns `token "hsm-a": C_Sign: CKR_DEVICE_REMOVED`.
func (e *Error) Error() string {
	text := e.Call + ": " + codeName(e.Code)
	if e.Token == "" {
		return text
	}
	return fmt.Sprintf("token %q: %s", e.Token, text)
}

// Unwrap returns the provider error that Code stands for, or nil.
func (e *Error) Unwrap() error {
	if e.meaning != nil {
		return e.meaning
	}
	return infoOf(e.Code).err
}

// as returns e with another meaning than that of its code alone. A module that answers CKR_GENERAL_ERROR to a bad ciphertext
// gave an answer, as becomes clear when the token is asked: the error is then no [provider.ErrUnavailable].
func (e *Error) as(meaning error) *Error {
	c := *e
	c.meaning = meaning
	return &c
}

// class says what a CKR code means for the connection. Each code belongs to one class.
type class int

const (
	// classAnswer is no fault: the call was done, or there was nothing to do.
	classAnswer class = iota + 1
	// classCaller is about what was asked for. Asked again it fails again, and the connection is well.
	classCaller
	// classPIN is a refused PIN. No login until another PIN is there: a few wrong ones lock the token.
	classPIN
	// classBusy is a token that is well and has no room or session now. No recovery: it would take more of them.
	classBusy
	// classKey is an object handle that is not valid, or no longer. No proof that the key is gone: ask the token, then find
	// the key by its CKA_ID.
	classKey
	// classSession is a session that is gone or in the wrong state, so that the call did nothing. Close it and make the call again on
	// another one.
	classSession
	// classLogin is a lost login, so that the call did nothing. Log in again, once for all sessions, and make the call again.
	classLogin
	// classHalfway is a call that was ended from outside, as by a person at a PIN pad. It may have been carried out. Close the session;
	// the caller decides whether to ask again.
	classHalfway
	// classToken is a token that is absent or another one. Ask for its info; if it is away, wait for it.
	classToken
	// classDevice is a failure without a cause: some modules report a dead connection so, some a bad argument. Ask for the
	// token's info before believing either.
	classDevice
	// classVendor is a code that the specification does not define. Treated as classDevice.
	classVendor
	// classFatal is a module that does not work until C_Finalize and C_Initialize were called.
	classFatal
)

// doubtful tells whether the code may come of a connection that is broken, so that the token must be asked whether it is there
// before the code is believed. A full token does not count: it answered.
func (c class) doubtful() bool {
	switch c {
	case classKey, classSession, classLogin, classHalfway, classToken, classDevice, classVendor, classFatal:
		return true
	}
	return false
}

// classOf returns the class of a CKR code.
func classOf(code uint) class { return infoOf(code).class }

// codeName returns the specification's name of a CKR code.
func codeName(code uint) string {
	switch name := infoOf(code).name; {
	case name != "":
		return name
	case code >= ckrVendorDefined:
		return fmt.Sprintf("CKR_VENDOR_DEFINED+0x%X", code-ckrVendorDefined)
	}
	return fmt.Sprintf("CKR_0x%08X", code)
}

// infoOf returns the row of a code; for a code without one, the nameless row of classVendor.
func infoOf(code uint) codeInfo {
	if i, ok := codeTable[code]; ok {
		return i
	}
	return codeInfo{"", classVendor, provider.ErrUnavailable, "nothing is known of it"}
}
