package provider

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
)

// MaxKID is the greatest length of a kid in bytes.
const MaxKID = 128

// ValidateKID returns [ErrInvalid] unless kid is 1 to 128 of A-Z a-z 0-9 . _ - and does not start with a dot.
func ValidateKID(kid string) error {
	switch {
	case kid == "":
		return Invalidf("empty kid: want 1 to %d of A-Z a-z 0-9 . _ -", MaxKID)
	case len(kid) > MaxKID:
		return Invalidf("kid of %d bytes: want at most %d", len(kid), MaxKID)
	case !kidBytes(kid):
		return Invalidf("kid %q: want only A-Z a-z 0-9 . _ - and no dot at the start", kid)
	}
	return nil
}

// kidBytes is a loop, and no regular expression, because every call that names a key passes here.
func kidBytes(kid string) bool {
	for i := range len(kid) {
		switch c := kid[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		case c == '.' && i > 0:
		default:
			return false
		}
	}
	return true
}

// NewKID returns a random kid: 128 bits in hexadecimal.
func NewKID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// ValidateVersion returns [ErrInvalid] for a negative version.
func ValidateVersion(version int) error {
	if version < 0 {
		return Invalidf("version %d: want 1 or more, or 0 for the latest", version)
	}
	return nil
}

// JWKKID returns the kid of a version's JWK: "<kid>.<version>".
func JWKKID(kid string, version int) string { return kid + "." + strconv.Itoa(version) }

// SplitJWKKID is the reverse of [JWKKID]. It reports false if s does not end in a dot and a version as JWKKID writes it.
func SplitJWKKID(s string) (kid string, version int, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 1 {
		return "", 0, false
	}
	version, err := strconv.Atoi(s[i+1:])
	if err != nil || version < 1 || strconv.Itoa(version) != s[i+1:] || ValidateKID(s[:i]) != nil {
		return "", 0, false
	}
	return s[:i], version, true
}
