//go:build cgo

package hsm

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// mostRoom is how many bytes longer than its input an output may be. A module that wants more does not mean it.
const mostRoom = 1 << 20

// room returns how long the output of an operation on n bytes may be. What is longer takes a second call.
func (m mechanism) room(n int) int {
	if m.typ == ckmEdDSA {
		return ed25519.SignatureSize // NSS takes no longer buffer for it
	}
	return n + 1024 // the tag of AES-GCM, a signature of RSA with 8,192 bits
}

// directCalls calls functions of a module that miekg/pkcs11 would call twice.
type directCalls interface {
	// finish is C_Encrypt, C_Decrypt or C_Sign with out for the answer. It returns the length of the answer, or with CKR_BUFFER_TOO_SMALL
	// the length that is wanted (PKCS#11 v3.0 section 5.2).
	finish(f function, s pkcs11.SessionHandle, in, out []byte) (uint, error)
	// attributes is C_GetAttributeValue into the places in room.
	attributes(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, places []place, room []byte) error
}

// final makes the call that ends an operation, f, on a session, with a buffer of room bytes, so that the module is called once.
// miekg/pkcs11 asks for the length first, which is a way to the token on some, and which some answer wrongly. It is miekg's call that
// is made where the module's own function is not known.
func (m module) final(f function, miekg func(pkcs11.SessionHandle, []byte) ([]byte, error), s pkcs11.SessionHandle, in []byte, room int) ([]byte, error) {
	if m.direct == nil {
		out, err := miekg(s, in)
		return out, m.count(f, err)
	}
	out := make([]byte, room)
	n, err := m.direct.finish(f, s, in, out)
	_ = m.count(f, err)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)) && n > uint(len(out)) && n <= uint(len(in)+mostRoom) {
		out = make([]byte, n)
		n, err = m.direct.finish(f, s, in, out)
		_ = m.count(f, err)
	}
	if err == nil && n > uint(len(out)) {
		err = fmt.Errorf("an answer of %d bytes in a buffer of %d", n, len(out))
	}
	if err != nil {
		clear(out) // it may have begun to decrypt
		return nil, err
	}
	clear(out[n:])
	return out[:n:n], nil
}
