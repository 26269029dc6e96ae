// Package keywrap is AES Key Wrap: RFC 3394, and for keys of any length RFC 5649 and PKCS #7 padding under RFC 3394. All detect every
// change of the wrapped key, with a chance of at most 2^-32 to miss one.
package keywrap

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// ErrUnwrap means that a wrapped key was not made with this key encryption key, or was changed.
var ErrUnwrap = errors.New("wrong key, or changed content")

// errLength means that a key can't be wrapped for its length. It is an error of the caller's.
var errLength = errors.New("keywrap: key of a length that can't be wrapped")

const semiblock = 8 // half an AES block, the unit of both algorithms, in bytes

var (
	// wholeIV is the initial value of RFC 3394 section 2.2.3.1, by which a wrapped key is recognised as whole.
	wholeIV = []byte{0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6}
	// paddedIV is the first half of that of RFC 5649 section 3; the second half is the length of the key in bytes.
	paddedIV = []byte{0xA6, 0x59, 0x59, 0xA6}
)

// Wrap wraps a key of a multiple of 8 bytes, 16 or more, under kek, an AES key (RFC 3394 section 2.2.1).
func Wrap(kek, key []byte) ([]byte, error) {
	if len(key)%semiblock != 0 || len(key) < 2*semiblock {
		return nil, errLength
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	out := append(bytes.Clone(wholeIV), key...)
	seal(block, out)
	return out, nil
}

// Unwrap is the reverse of Wrap (RFC 3394 section 2.2.2). The caller wipes the key. ErrUnwrap.
func Unwrap(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(wrapped)%semiblock != 0 || len(wrapped) < 3*semiblock {
		return nil, ErrUnwrap
	}
	out := bytes.Clone(wrapped)
	open(block, out)
	// What unwraps under another key is noise, so that comparing it in variable time tells nothing of either key.
	if !bytes.Equal(out[:semiblock], wholeIV) {
		clear(out)
		return nil, ErrUnwrap
	}
	return out[semiblock:], nil
}

// WrapPad wraps a key of one byte or more under kek, an AES key (RFC 5649 section 4.1).
func WrapPad(kek, key []byte) ([]byte, error) {
	if len(key) == 0 || uint64(len(key)) > math.MaxUint32 {
		return nil, errLength
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	padded := (len(key) + semiblock - 1) / semiblock * semiblock
	out := make([]byte, semiblock+padded)
	copy(out, paddedIV)
	binary.BigEndian.PutUint32(out[len(paddedIV):], uint32(len(key)))
	copy(out[semiblock:], key)
	seal(block, out)
	return out, nil
}

// UnwrapPad is the reverse of WrapPad (RFC 5649 section 4.2). The caller wipes the key. ErrUnwrap.
func UnwrapPad(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(wrapped)%semiblock != 0 || len(wrapped) < 2*semiblock {
		return nil, ErrUnwrap
	}
	out := bytes.Clone(wrapped)
	open(block, out)
	iv, padded := out[:semiblock], out[semiblock:]
	n := uint64(binary.BigEndian.Uint32(iv[len(paddedIV):]))
	size := uint64(len(padded))
	if !bytes.HasPrefix(iv, paddedIV) || n > size || n+semiblock <= size || !all(padded[n:], 0) {
		clear(out)
		return nil, ErrUnwrap
	}
	return padded[:n:n], nil
}

// WrapPKCS7 wraps a key of 8 bytes or more as Wrap does, padded to whole semiblocks by PKCS #7 (CKM_AES_KEY_WRAP_PKCS7 of PKCS#11
// v3.1).
func WrapPKCS7(kek, key []byte) ([]byte, error) {
	n := semiblock - len(key)%semiblock
	padded := slices.Concat(key, bytes.Repeat([]byte{byte(n)}, n))
	defer clear(padded)
	return Wrap(kek, padded)
}

// UnwrapPKCS7 is the reverse of WrapPKCS7. The caller wipes the key. ErrUnwrap.
func UnwrapPKCS7(kek, wrapped []byte) ([]byte, error) {
	padded, err := Unwrap(kek, wrapped)
	if err != nil {
		return nil, err
	}
	n := int(padded[len(padded)-1])
	if n < 1 || n > semiblock || !all(padded[len(padded)-n:], byte(n)) {
		clear(padded)
		return nil, ErrUnwrap
	}
	return padded[:len(padded)-n], nil
}

// all tells whether each byte of b is x.
func all(b []byte, x byte) bool {
	return bytes.Count(b, []byte{x}) == len(b)
}

// seal encrypts b, an initial value and one or more semiblocks, in place.
func seal(block cipher.Block, b []byte) {
	n := len(b)/semiblock - 1
	if n == 1 { // RFC 5649 only
		block.Encrypt(b, b)
		return
	}
	var x [aes.BlockSize]byte
	defer clear(x[:])
	for t := range 6 * n {
		i := (t%n + 1) * semiblock
		copy(x[:semiblock], b)
		copy(x[semiblock:], b[i:])
		block.Encrypt(x[:], x[:])
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(x[:])^uint64(t+1))
		copy(b[i:i+semiblock], x[semiblock:])
	}
}

// open is the reverse of seal.
func open(block cipher.Block, b []byte) {
	n := len(b)/semiblock - 1
	if n == 1 {
		block.Decrypt(b, b)
		return
	}
	var x [aes.BlockSize]byte
	defer clear(x[:])
	for t := 6*n - 1; t >= 0; t-- {
		i := (t%n + 1) * semiblock
		binary.BigEndian.PutUint64(x[:], binary.BigEndian.Uint64(b)^uint64(t+1))
		copy(x[semiblock:], b[i:])
		block.Decrypt(x[:], x[:])
		copy(b, x[:semiblock])
		copy(b[i:i+semiblock], x[semiblock:])
	}
}
