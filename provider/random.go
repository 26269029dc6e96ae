package provider

import (
	"crypto/hkdf"
	"crypto/sha256"
)

const (
	// MaxRandomBytes is the most that one call of RandomBytes returns.
	MaxRandomBytes = 1 << 20
	// MaxHKDFBytes is the most that HKDF-SHA-256 can return: 255 hashes (RFC 5869 section 2.3).
	MaxHKDFBytes = 255 * sha256.Size
)

// ValidateRandom returns [ErrInvalid] unless n is 0 to [MaxRandomBytes].
func ValidateRandom(n int) error {
	if n < 0 || n > MaxRandomBytes {
		return Invalidf("%d random bytes: want 0 to %d", n, MaxRandomBytes)
	}
	return nil
}

// HKDFSHA256 is HKDF-SHA-256 (RFC 5869) as every store computes it: the input comes from the caller's memory, so no token
// is asked. [ErrInvalid] unless length is 0 to [MaxHKDFBytes].
func HKDFSHA256(ikm, salt, info []byte, length int) ([]byte, error) {
	if length < 0 || length > MaxHKDFBytes {
		return nil, Invalidf("HKDF output of %d bytes: want 0 to %d", length, MaxHKDFBytes)
	}
	return hkdf.Key(sha256.New, ikm, salt, string(info), length)
}
