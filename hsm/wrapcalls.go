//go:build cgo

package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (c *conn) wrap(ctx context.Context, w wrapping, key *object) ([]byte, error) {
	var wrapped []byte
	err := c.underKEK(ctx, w, ckaWrap, func(m *member, s pkcs11.SessionHandle, kek pkcs11.ObjectHandle) (_ pkcs11.ObjectHandle, err error) {
		h := pkcs11.ObjectHandle(key.handle)
		if key.epoch != m.epoch {
			return 0, errMoved
		}
		if err := c.extractable(s, h); err != nil {
			return 0, err
		}
		wrapped, err = c.p11.WrapKey(s, plainMechanism(w.mechanism), kek, h)
		return 0, c.fail("C_WrapKey", err)
	})
	if err != nil {
		return nil, err
	}
	return wrapped, nil
}

// extractable returns nil if the key has CKA_EXTRACTABLE true. The module is not relied on for it: NSS wraps any key.
func (c *conn) extractable(s pkcs11.SessionHandle, key pkcs11.ObjectHandle) error {
	values, err := (&reader{c: c, s: s, h: key}).attributes(ckaExtractable)
	if err != nil {
		return c.fail("C_GetAttributeValue", err)
	}
	if v := toBool(values[0]); v == nil || !*v {
		return fmt.Errorf("%w: its CKA_EXTRACTABLE is false", provider.ErrNotExportable)
	}
	return nil
}

func (c *conn) value(ctx context.Context, key *object) ([]byte, error) {
	var value []byte
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		h := pkcs11.ObjectHandle(key.handle)
		if key.epoch != m.epoch {
			return errMoved
		}
		if err := c.extractable(s, h); err != nil {
			return err
		}
		values, err := (&reader{c: c, s: s, h: h}).attributes(ckaValue)
		if err != nil {
			return c.fail("C_GetAttributeValue", err)
		}
		value = values[0]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

func (c *conn) unwrap(ctx context.Context, w wrapping, wrapped []byte, template []attribute) error {
	wrapped = slices.Clone(wrapped)
	return c.underKEK(ctx, w, ckaUnwrap, func(m *member, s pkcs11.SessionHandle, kek pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error) {
		put, err := c.p11.UnwrapKey(s, plainMechanism(w.mechanism), kek, wrapped, toAttributes(template))
		if err != nil {
			return 0, c.explain(m, "C_UnwrapKey", err)
		}
		return put, nil
	})
}

func plainMechanism(m uint) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(m, nil)}
}

// underKEK is do with w.kek on the token, as a key for one use, ckaWrap or ckaUnwrap. It takes a copy of w.kek, and wipes that when
// the call has come back or will never begin. f returns the handle of what it has put on the token, which goes if nobody waits for
// it any more; 0 for nothing.
func (c *conn) underKEK(ctx context.Context, w wrapping, use uint, f func(*member, pkcs11.SessionHandle, pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error)) error {
	limit := c.cfg.Timeout
	if w.transport {
		limit *= generationLimits
	}
	w.kek = slices.Clone(w.kek)
	var run creation
	err := c.call(ctx, limit, func(m *member) error {
		if !run.begin() {
			return errAbandoned
		}
		s, err := c.open(m)
		if err != nil {
			run.end()
			return err
		}
		put, kek, err := c.withKEK(m, s, w, use, f)
		wanted := run.end()
		if !wanted || !undone(err) { // or else it may be made again
			clear(w.kek)
		}
		if !wanted && put != 0 {
			err = errors.Join(err, c.fail("C_DestroyObject", c.p11.DestroyObject(s, put)))
		}
		if err != nil || c.p11.DestroyObject(s, kek) != nil {
			c.discard(m, s) // and with it goes every session key that is left
			return err
		}
		m.park(s)
		return nil
	})
	if run.leave() {
		clear(w.kek)
	}
	return err
}

// withKEK brings w.kek to the token and runs f with its handle.
func (c *conn) withKEK(m *member, s pkcs11.SessionHandle, w wrapping, use uint, f func(*member, pkcs11.SessionHandle, pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error)) (put, kek pkcs11.ObjectHandle, err error) {
	template := []attribute{
		{ckaClass, uint(ckoSecretKey)}, {ckaKeyType, uint(ckkAES)}, {ckaToken, false}, {ckaPrivate, true}, {ckaSensitive, true}, {ckaExtractable, false},
		{ckaEncrypt, false}, {ckaDecrypt, false}, {ckaWrap, use == ckaWrap}, {ckaUnwrap, use == ckaUnwrap},
	}
	place := c.inPlain
	if w.transport {
		place = c.transport
	}
	if kek, err = place(m, s, w.kek, template); err != nil {
		return 0, 0, err
	}
	put, err = f(m, s, kek)
	return put, kek, err
}

// inPlain brings an AES key to the token by C_CreateObject.
func (c *conn) inPlain(_ *member, s pkcs11.SessionHandle, kek []byte, template []attribute) (pkcs11.ObjectHandle, error) {
	h, err := c.p11.CreateObject(s, toAttributes(append(template, attribute{ckaValue, kek})))
	err = c.fail("C_CreateObject", err)
	if refused(err) {
		err = fmt.Errorf("%w: %w", errNoKEK, err)
	}
	return h, err
}
