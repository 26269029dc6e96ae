//go:build cgo

package hsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

const (
	searchStep = 512 // handles that one C_FindObjects asks for
	readStep   = 16  // objects that are read in one operation: a token with thousands takes its time, and hangs not for that
	findTries  = 3   // how often a search begins again because an object vanished from under it
	readTries  = 4   // how often an object is read that the token fails to show
)

func (c *conn) find(ctx context.Context, match ...attribute) ([]*object, error) {
	found, err := settled(c.cfg, func() (found []*object, err error) {
		for range findTries {
			var whole bool
			if found, whole, err = c.findOnce(ctx, match); whole || err != nil {
				break
			}
		}
		return found, err
	})
	if err != nil {
		return nil, err
	}
	return found, allRead(found)
}

// findOnce is find on one connection; errMoved if it was made anew half-way. whole tells that every object that was found could be
// asked: a handle that is not valid may be of one that was destroyed just now, and is no proof of it.
func (c *conn) findOnce(ctx context.Context, match []attribute) (found []*object, whole bool, err error) {
	handles, epoch, err := c.search(ctx, match)
	if err != nil {
		return nil, false, err
	}
	todo := handles
	for try := 1; ; try++ {
		var unread []pkcs11.ObjectHandle
		for chunk := range slices.Chunk(todo, readStep) {
			objects, err := c.readAll(ctx, epoch, chunk)
			if err != nil {
				return nil, false, err
			}
			for _, o := range objects {
				if o.unread() && try < readTries {
					unread = append(unread, pkcs11.ObjectHandle(o.handle))
				} else {
					found = append(found, o)
				}
			}
		}
		if len(unread) == 0 {
			return found, len(found) == len(handles), nil
		}
		select {
		case <-time.After(c.cfg.pace.readAgain << (2 * (try - 1))):
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		todo = unread
	}
}

// search returns the handles of the objects that match, and their epoch.
func (c *conn) search(ctx context.Context, match []attribute) ([]pkcs11.ObjectHandle, uint64, error) {
	var handles []pkcs11.ObjectHandle
	var epoch uint64
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) (err error) {
		epoch = m.epoch
		if handles, err = c.searchIn(s, toAttributes(match)); err != nil {
			return err
		}
		if err := c.whole(m, s, len(handles)); err != nil {
			return err
		}
		return c.there(m, s)
	})
	if err != nil {
		return nil, 0, err
	}
	return handles, epoch, nil
}

// whole returns provider.ErrUnsupported if a search with n matches may have been cut short (quirks.shortSearch): a key that is not shown
// would count as gone. A module that shows more objects than that of the whole token is not of the kind.
func (c *conn) whole(m *member, s pkcs11.SessionHandle, n int) error {
	if m.info.cutShort(n) == nil {
		return nil
	}
	all, err := c.searchIn(s, nil)
	if err != nil {
		return err
	}
	return m.info.cutShort(len(all))
}

func (c *conn) searchIn(s pkcs11.SessionHandle, match []*pkcs11.Attribute) (all []pkcs11.ObjectHandle, err error) {
	if err := c.p11.FindObjectsInit(s, match); err != nil {
		return nil, c.fail("C_FindObjectsInit", err)
	}
	defer func() {
		if ferr := c.p11.FindObjectsFinal(s); err == nil {
			err = c.fail("C_FindObjectsFinal", ferr)
		}
	}()
	for {
		handles, err := c.p11.FindObjects(s, searchStep)
		if err != nil {
			return nil, c.fail("C_FindObjects", err)
		}
		if len(handles) == 0 {
			return all, nil
		}
		all = append(all, handles...)
	}
}

// readAll returns what can be read of the objects that are still there.
func (c *conn) readAll(ctx context.Context, epoch uint64, handles []pkcs11.ObjectHandle) ([]*object, error) {
	var objects []*object
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if m.epoch != epoch {
			return errMoved
		}
		objects = make([]*object, 0, len(handles))
		for _, h := range handles {
			o, err := c.read(m, s, h)
			if err != nil {
				return err
			}
			if o != nil {
				objects = append(objects, o)
			}
		}
		return c.there(m, s)
	})
	if err != nil {
		return nil, err
	}
	return objects, nil
}

// reader reads the attributes of one object.
type reader struct {
	c *conn
	s pkcs11.SessionHandle
	h pkcs11.ObjectHandle
	o *object

	lost error // what kept a call from reaching the object: it says nothing of the object
}

// read returns what can be read of an object; nil if it is gone. What can't be read is the object's problem and hides no
// other object. An error means that nothing at all can be read any more.
func (c *conn) read(m *member, s pkcs11.SessionHandle, h pkcs11.ObjectHandle) (*object, error) {
	r := &reader{c: c, s: s, h: h, o: &object{epoch: m.epoch, handle: uint(h), class: classUnknown}}
	class, err := r.attributes(pkcs11.CKA_CLASS)
	switch {
	case isGone(err):
		return nil, nil
	case r.lost != nil:
		return nil, r.lost
	case err != nil:
		r.o.problem = c.fail("C_GetAttributeValue", err)
		return r.o, c.there(m, s)
	}
	r.o.class = toUint(class[0])
	switch r.o.class {
	case pkcs11.CKO_DATA:
		r.data()
	case pkcs11.CKO_PUBLIC_KEY:
		r.publicKey()
	case pkcs11.CKO_PRIVATE_KEY:
		r.key()
		r.o.alwaysAuth = isTrue(r.optional(pkcs11.CKA_ALWAYS_AUTHENTICATE)[0])
	case pkcs11.CKO_SECRET_KEY:
		r.key()
		r.o.length = int(toUint(r.optional(pkcs11.CKA_VALUE_LEN)[0]))
	default:
		values := r.optional(pkcs11.CKA_LABEL, pkcs11.CKA_ID)
		r.o.label, r.o.id = string(values[0]), values[1]
	}
	return r.o, r.lost
}

func (r *reader) data() {
	values := r.essential(pkcs11.CKA_LABEL, pkcs11.CKA_APPLICATION, pkcs11.CKA_PRIVATE)
	r.o.label, r.o.application, r.o.private = string(values[0]), string(values[1]), isTrue(values[2])
	if r.o.problem == nil && r.o.isRecord() {
		r.o.value = r.required(pkcs11.CKA_VALUE)[0]
	}
}

func (r *reader) identity() {
	values := r.essential(pkcs11.CKA_ID, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_LABEL, pkcs11.CKA_PRIVATE)
	r.o.id, r.o.keyType, r.o.label, r.o.private = values[0], toUint(values[1]), string(values[2]), isTrue(values[3])
}

func (r *reader) publicKey() {
	r.identity()
	switch {
	case r.o.problem != nil:
	case r.o.keyType == pkcs11.CKK_RSA:
		values := r.required(pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
		r.o.modulus, r.o.exponent = values[0], values[1]
	case slices.Contains([]uint{pkcs11.CKK_EC, ckkECEdwards, ckkECMontgomery}, r.o.keyType):
		values := r.required(pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
		r.o.ecParams, r.o.ecPoint = values[0], values[1]
	}
}

// key reads a private or secret key and the evidence of its protection.
func (r *reader) key() {
	r.identity()
	if r.o.problem != nil {
		return
	}
	values := r.optional(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE,
		pkcs11.CKA_LOCAL, pkcs11.CKA_KEY_GEN_MECHANISM)
	r.o.evidence = &provider.Evidence{
		Sensitive: toBool(values[0]), Extractable: toBool(values[1]), AlwaysSensitive: toBool(values[2]), NeverExtractable: toBool(values[3]),
		Local: toBool(values[4]),
	}
	if m := values[5]; len(m) > 0 && toUint(m) != pkcs11.CK_UNAVAILABLE_INFORMATION {
		r.o.evidence.KeyGenMechanism = mechanismName(toUint(m))
	}
}

// publicParts reads from a private key or certificate what its public half can be rebuilt from.
func (c *conn) publicParts(ctx context.Context, o *object) (*object, error) {
	parts := *o
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if o.epoch != m.epoch {
			return errMoved
		}
		r := &reader{c: c, s: s, h: pkcs11.ObjectHandle(o.handle), o: &parts}
		var values [][]byte
		var missed error
		if o.class == pkcs11.CKO_CERTIFICATE {
			values, missed = r.each(pkcs11.CKA_VALUE)
			parts.value = values[0]
		} else {
			values, missed = r.each(pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT, ckaPublicKeyInfo)
			parts.modulus, parts.exponent, parts.ecParams, parts.ecPoint, parts.publicKeyInfo = values[0], values[1], values[2], values[3], values[4]
		}
		if _, err := publicKey(&parts); err != nil && missed != nil {
			parts.problem = c.fail("C_GetAttributeValue", missed)
		}
		return r.lost
	})
	if err != nil {
		return nil, err
	}
	return &parts, nil
}

// attributes reads several attributes in one call.
func (r *reader) attributes(types ...uint) ([][]byte, error) {
	values, err := r.c.p11.attributes(r.s, r.h, types)
	if err != nil {
		r.note(err)
	}
	return values, err
}

// note keeps an error that is not about the object.
func (r *reader) note(err error) {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return
	}
	switch classOf(uint(code)) {
	case classSession, classLogin, classHalfway, classToken, classFatal:
		r.lost = r.c.fail("C_GetAttributeValue", err)
	}
}

// optional reads attributes that the object can do without. What is not there, or can't be read, stays nil.
func (r *reader) optional(types ...uint) [][]byte {
	values, _ := r.each(types...)
	return values
}

// essential is optional for attributes by which an object is known: it may have none, but one that can't be read is a problem.
func (r *reader) essential(types ...uint) [][]byte {
	values, err := r.each(types...)
	if err != nil {
		r.o.problem = fmt.Errorf("%s %s: %w", className(r.o.class), quote(r.o.label), r.c.fail("C_GetAttributeValue", err))
	}
	return values
}

// each reads what it can: all at once, and where the module refuses, one by one, because a module that refuses one
// need not give the others. The error is that of the first one that can't be read although the object may have it.
func (r *reader) each(types ...uint) ([][]byte, error) {
	if values, err := r.attributes(types...); err == nil {
		return values, nil
	}
	values := make([][]byte, len(types))
	var failed error
	for i, t := range types {
		v, err := r.attributes(t)
		switch {
		case err == nil:
			values[i] = v[0]
		case failed == nil && !absent(err):
			failed = err
		}
	}
	return values, failed
}

// required is for attributes without which the object is no use: that one is missing is a problem, too.
func (r *reader) required(types ...uint) [][]byte {
	values, err := r.attributes(types...)
	if err != nil {
		r.o.problem = fmt.Errorf("%s %s: %w", className(r.o.class), quote(r.o.label), r.c.fail("C_GetAttributeValue", err))
		return make([][]byte, len(types))
	}
	return values
}

// isTrue tells whether a CK_BBOOL is there, and true.
func isTrue(b []byte) bool { return len(b) == 1 && b[0] != 0 }

// toBool reads a CK_BBOOL; nil if there is none.
func toBool(b []byte) *bool {
	if len(b) != 1 {
		return nil
	}
	v := b[0] != 0
	return &v
}

// toUint reads a CK_ULONG, a C long, in the machine's byte order; 0 if there is none.
func toUint(b []byte) uint {
	switch len(b) {
	case 4:
		return uint(binary.NativeEndian.Uint32(b))
	case 8:
		return uint(binary.NativeEndian.Uint64(b))
	}
	return 0
}
