//go:build cgo

package hsm

import (
	"errors"
	"strconv"

	"github.com/miekg/pkcs11"
)

// roomFor returns the length of the buffer for an attribute: exact for a CK_ULONG and a CK_BBOOL, and ample for what has no fixed length.
func roomFor(attribute uint) int {
	switch attribute {
	case pkcs11.CKA_CLASS, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_KEY_GEN_MECHANISM, pkcs11.CKA_VALUE_LEN:
		return strconv.IntSize / 8
	case pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE,
		pkcs11.CKA_LOCAL, pkcs11.CKA_ALWAYS_AUTHENTICATE:
		return 1
	case pkcs11.CKA_VALUE: // of records and certificates
		return 4096
	}
	return 1024 // the modulus of RSA with 8,192 bits
}

// alignment is that of the values in one buffer: some modules write a CK_ULONG as such.
const alignment = 8

// errNoRoom means that a value is longer than its buffer.
var errNoRoom = errors.New("the value of an attribute has no room")

// attributes reads several attributes of an object in one call, with buffers that have room (PKCS#11 v3.0 section 5.7.5, C_GetAttributeValue).
// A nil value is one that the module does not show. miekg/pkcs11 asks for the lengths first: it is its call that is made where the module's
// own function is not known, or a value is longer than expected.
func (m module) attributes(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, types []uint) ([][]byte, error) {
	if m.direct != nil {
		values, err := m.roomy(s, h, types)
		if !errors.Is(err, errNoRoom) {
			return values, err
		}
	}
	template := make([]*pkcs11.Attribute, len(types))
	for i, t := range types {
		template[i] = pkcs11.NewAttribute(t, nil)
	}
	read, err := m.GetAttributeValue(s, h, template)
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(types))
	for i, a := range read {
		values[i] = a.Value
	}
	return values, nil
}

// roomy is attributes with the module's own function. errNoRoom if a value has none.
func (m module) roomy(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, types []uint) ([][]byte, error) {
	places, size := make([]place, len(types)), 0
	for i, t := range types {
		places[i] = place{typ: t, offset: size, length: roomFor(t)}
		size += (places[i].length + alignment - 1) / alignment * alignment
	}
	room := make([]byte, size)
	whole := false
	defer func() {
		if !whole {
			clear(room) // there may be a part of a secret
		}
	}()
	switch err := m.count(fnGetAttributeValue, m.direct.attributes(s, h, places, room)); {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)):
		return nil, errNoRoom
	case err != nil:
		return nil, err
	}
	values := make([][]byte, len(types))
	for i, a := range places {
		switch {
		case a.length > roomFor(a.typ):
			return nil, errNoRoom
		case a.length >= 0:
			values[i] = room[a.offset : a.offset+a.length : a.offset+a.length]
		}
	}
	whole = true
	return values, nil
}

// place is where in a buffer an attribute belongs, and its length: before the call that of the room, afterwards that of the value, or
// unshown.
type place struct {
	typ            uint
	offset, length int
}

// unshown is CK_UNAVAILABLE_INFORMATION, as the length of a value that the module does not show.
const unshown = -1
