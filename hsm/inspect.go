package hsm

import (
	"strconv"

	"github.com/hsmmirror/hsmmirror/provider"
)

// TokenInfo describes a slot of a module and the token in it (C_GetSlotInfo, C_GetTokenInfo). Padding is removed from its
// strings; they are otherwise as the token gives them, so print them with care.
type TokenInfo struct {
	Slot         uint
	Label        string
	Manufacturer string
	Model        string
	Serial       string
	Hardware     string   // version of the hardware, "major.minor"
	Firmware     string   // version of the firmware, "major.minor"
	Flags        []string // names of the CKF_ flags that are set, without the prefix
	Initialized  bool
	URI          string // RFC 7512 URI that selects the token

	// What the module says of itself (C_GetInfo). Behind p11-kit's remoting that is p11-kit.
	LibraryManufacturer string
	Library             string // its description
	LibraryVersion      string // "major.minor"

	Problem string // why the rest is empty, for a slot that gave no answer

	flags, maxSessions uint
	twin               bool // another token of the module has the same label and serial number
	asksLengths        bool // each operation begins by asking for the length of its answer (module.final)
}

// Object describes one object on the token.
type Object struct {
	Class   string // CKO_ name, such as CKO_PRIVATE_KEY
	KeyType string // CKK_ name; empty for what is no key
	Label   string
	ID      []byte // CKA_ID
	Bits    int    // size of the key in bits; 0: the token does not say
	KID     string // of ours only
	Version int    // of ours only
	// Status is "ours" for an object of a version that the Token serves, "half" for the rest of an operation that was cut
	// off, and "foreign" for what other tools made.
	Status   string
	Evidence *provider.Evidence // of private and secret keys
	URI      string             // RFC 7512 URI that selects the object
	Problem  string             // what could not be read
}

// The statuses of an Object.
const (
	StatusOurs    = "ours"
	StatusHalf    = "half"
	StatusForeign = "foreign"
)

func quote(s string) string { return strconv.QuoteToGraphic(s) }

func utoa(n uint) string { return strconv.FormatUint(uint64(n), 10) }
