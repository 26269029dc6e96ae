package softfile

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"errors"
)

// wrapIV is the default initial value of RFC 3394 section 2.2.3.1, by which a wrapped key is recognised as whole.
var wrapIV = []byte{0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6}

var errUnwrap = errors.New("wrong key, or changed content")

// wrapKey is AES Key Wrap (RFC 3394 section 2.2.1) of a key of a multiple of 8 bytes, 16 or more.
func wrapKey(kek, key []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(key) / 8
	out := append(bytes.Clone(wrapIV), key...)
	var b [aes.BlockSize]byte
	for t := range 6 * n {
		i := t%n + 1
		copy(b[:8], out[:8])
		copy(b[8:], out[8*i:])
		block.Encrypt(b[:], b[:])
		binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(b[:8])^uint64(t+1))
		copy(out[8*i:8*i+8], b[8:])
	}
	return out, nil
}

// unwrapKey is the reverse (RFC 3394 section 2.2.2). errUnwrap if wrapped was not made with kek.
func unwrapKey(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(wrapped)%8 != 0 || len(wrapped) < 24 {
		return nil, errUnwrap
	}
	n := len(wrapped)/8 - 1
	out := bytes.Clone(wrapped)
	var b [aes.BlockSize]byte
	for t := 6*n - 1; t >= 0; t-- {
		i := t%n + 1
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(out)^uint64(t+1))
		copy(b[8:], out[8*i:])
		block.Decrypt(b[:], b[:])
		copy(out[:8], b[:8])
		copy(out[8*i:8*i+8], b[8:])
	}
	// What unwraps under another key is noise, so that comparing it in variable time tells nothing of either key.
	if !bytes.Equal(out[:8], wrapIV) {
		clear(out)
		return nil, errUnwrap
	}
	return out[8:], nil
}
