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
	// classSession is a session that is closed or in the wrong state. Close it and take another one.
	classSession
	// classLogin is a lost login. Log in again, once for all sessions.
	classLogin
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

// String returns the class's name as statistics show it.
func (c class) String() string {
	switch c {
	case classAnswer:
		return "answer"
	case classCaller:
		return "caller"
	case classPIN:
		return "pin"
	case classBusy:
		return "busy"
	case classKey:
		return "key"
	case classSession:
		return "session"
	case classLogin:
		return "login"
	case classToken:
		return "token"
	case classDevice:
		return "device"
	case classVendor:
		return "vendor"
	case classFatal:
		return "fatal"
	}
	return fmt.Sprintf("class(%d)", int(c))
}

// callersFault tells whether the code says something about what was asked for, and nothing against the token. It never
// counts as an outage.
func (c class) callersFault() bool { return c == classCaller || c == classPIN || c == classAnswer }

// outage tells whether the code counts as a sign that the token is not working. A lost login and a full token do not: the
// token answered.
func (c class) outage() bool {
	return c == classSession || c == classToken || c == classDevice || c == classVendor || c == classFatal
}

// endsSession tells whether the session of the call must be closed, and not go back to its pool. An error between an Init
// and its final call ends the session whatever the code.
func (c class) endsSession() bool { return c.outage() }

// needsLogin tells whether the token must be logged in to again.
func (c class) needsLogin() bool { return c == classLogin }

// suspicious tells whether the token must be asked for its info before the code is believed: it may be gone though the code
// says otherwise, or be well though the code says it is gone.
func (c class) suspicious() bool {
	return c == classKey || c == classToken || c == classDevice || c == classVendor
}

// needsInit tells whether only C_Finalize and C_Initialize help.
func (c class) needsInit() bool { return c == classFatal }

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
