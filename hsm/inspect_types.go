package hsm

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ModuleInfo describes a PKCS#11 module (C_GetInfo) and its slots. Padding is removed from its strings; they are otherwise as the
// module gives them, so print them with care.
type ModuleInfo struct {
	Path         string
	Manufacturer string
	Description  string
	Version      string // of the library, "major.minor"
	Cryptoki     string // version of PKCS#11 that it speaks, "major.minor"
	Slots        []SlotInfo
}

// SlotInfo describes a slot (C_GetSlotInfo), and the token in it.
type SlotInfo struct {
	ID           uint
	Description  string
	Manufacturer string
	Hardware     string
	Firmware     string
	Flags        []string      // names of the CKF_ flags that are set, without the prefix
	Token        *TokenDetails // nil: the slot is empty, or gave no answer
	Problem      string        // what the slot did not answer
}

// Unknown is a count that the token does not tell (CK_UNAVAILABLE_INFORMATION).
const Unknown = -1

// TokenDetails is everything that a token says of itself without a login.
type TokenDetails struct {
	TokenInfo
	// Sessions that are open, and the greatest numbers of them, of which 0 means no limit. Each may be Unknown.
	Sessions, MaxSessions, RWSessions, MaxRWSessions int
	// Memory in bytes. Each may be Unknown.
	PublicMemory, FreePublicMemory, PrivateMemory, FreePrivateMemory int
	MinPIN, MaxPIN                                                   int    // length of a PIN in bytes; either may be Unknown
	Clock                                                            string // "YYYYMMDDhhmmss", UTC, of a token with CLOCK_ON_TOKEN
	Mechanisms                                                       []Mechanism
	Algs                                                             []provider.AlgSupport // what the mechanisms give of our algorithms
}

// Mechanism is what a token can do (C_GetMechanismInfo).
type Mechanism struct {
	Type   uint
	Name   string // CKM_ name, or the number
	MinKey uint   // sizes of keys, in bits or bytes as the mechanism counts them; 0 where it takes none
	MaxKey uint
	Flags  []string          // names of the CKF_ flags that are set, without the prefix
	Algs   []provider.KeyAlg // our algorithms that need it
	// Problem is why the rest is empty, for a mechanism that is listed and can't be described.
	Problem string
}

// PINState says in words how the user's PIN is: "ok", "not set", "locked", "one try left", "some tries failed", "to be changed",
// "entered on the device", or "not wanted".
func (t TokenInfo) PINState() string {
	has := func(flag string) bool { return slices.Contains(t.Flags, flag) }
	switch {
	case has("USER_PIN_LOCKED"):
		return "locked"
	case has("USER_PIN_FINAL_TRY"):
		return "one try left"
	case !has("USER_PIN_INITIALIZED") && has("LOGIN_REQUIRED"):
		return "not set"
	case has("USER_PIN_TO_BE_CHANGED"):
		return "to be changed"
	case has("USER_PIN_COUNT_LOW"):
		return "some tries failed"
	case !has("LOGIN_REQUIRED"):
		return "not wanted"
	case has("PROTECTED_AUTHENTICATION_PATH"):
		return "entered on the device"
	}
	return "ok"
}

// Trace is told of each call into a module before it is made, such as "C_Initialize". What does not come back, or ends the
// process, was the last one. Nil: nobody is told.
type Trace func(call string)

func (t Trace) call(name string) {
	if t != nil {
		t(name)
	}
}

// InspectModule describes a module, every slot of it, and the tokens in them, with their mechanisms. It loads and initialises the
// module, with initArgs as in [Config], and finalises it again; nothing is written and nobody logs in. A slot, token or mechanism that gives no answer has its
// Problem and hides no other.
//
// A call into a module can't be interrupted, and a bad module can crash or hang the process: inspect an unknown one in a process
// that may be killed. [provider.ErrInvalid] if it is no PKCS#11 library, if it needs initialisation arguments, or if something in this
// process uses it already; [provider.ErrUnsupported] without cgo.
func InspectModule(ctx context.Context, module, initArgs string, trace Trace) (ModuleInfo, error) {
	if err := ctx.Err(); err != nil {
		return ModuleInfo{}, err
	}
	if err := checkModule(module); err != nil {
		return ModuleInfo{}, err
	}
	return inspectModule(module, initArgs, trace)
}

// InspectObjects describes every object on the token that cfg selects, ours or not, and what is remarkable about each. With a
// cfg.PIN it logs in for as long as it looks; without one it sees what the token shows to everyone. It writes nothing, and reads no
// secret value, not even of keys that would give theirs. As for the rest it is as [InspectModule].
func InspectObjects(ctx context.Context, cfg Config, trace Trace) (TokenObjects, error) {
	if err := ctx.Err(); err != nil {
		return TokenObjects{}, err
	}
	cfg, err := cfg.normalize()
	if err != nil {
		return TokenObjects{}, err
	}
	return inspectObjects(ctx, cfg, trace)
}

// TokenObjects is what stands on a token.
type TokenObjects struct {
	Token    TokenInfo
	LoggedIn bool
	Objects  []ObjectInfo
}

// ObjectInfo is everything that one object says.
type ObjectInfo struct {
	Object
	// Attributes are the attributes that the object has, secret values left out, in the specification's order.
	Attributes []Attribute
	// Unreadable names attributes that were refused, though the object should have them, with the reason: "CKA_START_DATE:
	// CKR_GENERAL_ERROR".
	Unreadable []string
	Findings   []Finding

	raw *object // what describe and the findings work on
}

// Attribute is one attribute of an object. Value is a bool, a uint64, a string (text, a date as YYYY-MM-DD, or a CK name), a
// []string of names, or []byte.
type Attribute struct {
	Name  string // "CKA_SENSITIVE"
	Value any
}

// Attribute returns the value of the attribute with the given name; nil if the object has none.
func (o ObjectInfo) Attribute(name string) any {
	for _, a := range o.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return nil
}

// Is tells whether the object has the boolean attribute, and it is true.
func (o ObjectInfo) Is(name string) bool {
	b, ok := o.Attribute(name).(bool)
	return ok && b
}

// Trial says how much a token is tried.
type Trial struct {
	Algs     []provider.KeyAlg // those to try; empty: all that its mechanisms are for
	Sessions int               // how many sessions sign at once in the last measurement; 0: 4
	Time     time.Duration     // of each measurement; 0: 250 ms
}

// The steps of a trial, in order. A step of an algorithm has its name.
const (
	TrialLogin  = "login"
	TrialRandom = "random"
	TrialData   = "data"
	TrialSpeed  = "speed"
)

// TrialResult is what came of one step.
type TrialResult struct {
	Step    string
	Text    string // what was seen
	Failure string // why the step failed; empty if it did not
	// Refused tells that the failure is an answer of the token, such as an algorithm that it lists and does not do, and no outage.
	Refused bool
	// Auth tells that the failure is a refused PIN.
	Auth bool
}

// Try works with a token as a service does, with session objects alone, which are gone when it returns: it logs in, draws random
// bytes, makes a key for each algorithm, signs with it, verifies in this process, decrypts, stores a data object, and measures. Each
// result is handed to report. Try goes on after a step that failed unless the rest can't be tried without it. As for the rest it
// is as [InspectObjects].
func Try(ctx context.Context, cfg Config, trial Trial, trace Trace, report func(TrialResult)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cfg, err := cfg.normalize()
	if err != nil {
		return err
	}
	trial.Sessions, trial.Time = cmp.Or(trial.Sessions, 4), cmp.Or(trial.Time, 250*time.Millisecond)
	return try(ctx, cfg, trial, trace, report)
}
