//go:build cgo

package hsm

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (c *conn) wrap(ctx context.Context, w wrapping, key *object) ([]byte, error) {
	var wrapped []byte
	err := c.underKEK(ctx, w, ckaWrap, func(m *member, s pkcs11.SessionHandle, kek pkcs11.ObjectHandle) error {
		h := pkcs11.ObjectHandle(key.handle)
		if key.epoch != m.epoch {
			return errMoved
		}
		if err := c.extractable(s, h); err != nil {
			return err
		}
		var err error
		if wrapped, err = c.lib.p11.WrapKey(s, plainMechanism(w.mechanism), kek, h); err != nil {
			return c.explain(m, "C_WrapKey", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wrapped, nil
}

// extractable returns nil if the key has CKA_EXTRACTABLE true. The module is not relied on for it: NSS wraps any key.
func (c *conn) extractable(s pkcs11.SessionHandle, key pkcs11.ObjectHandle) error {
	values, err := reader{c, s, key, &object{}}.attributes(ckaExtractable)
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
		values, err := reader{c, s, h, &object{}}.attributes(ckaValue)
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
	return c.underKEK(ctx, w, ckaUnwrap, func(m *member, s pkcs11.SessionHandle, kek pkcs11.ObjectHandle) error {
		if _, err := c.lib.p11.UnwrapKey(s, plainMechanism(w.mechanism), kek, wrapped, toAttributes(template)); err != nil {
			return c.explain(m, "C_UnwrapKey", err)
		}
		return nil
	})
}

func plainMechanism(m uint) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(m, nil)}
}

// underKEK is do with w.kek on the token, as a key for one use, ckaWrap or ckaUnwrap. It takes a copy of w.kek, and wipes that when
// the call has come back or will never begin.
func (c *conn) underKEK(ctx context.Context, w wrapping, use uint, f func(*member, pkcs11.SessionHandle, pkcs11.ObjectHandle) error) error {
	limit := c.cfg.Timeout
	if w.transport {
		limit *= generationLimits
	}
	w.kek = slices.Clone(w.kek)
	var taken atomic.Bool
	err := c.call(ctx, limit, func(m *member) error {
		if taken.Swap(true) {
			return errAbandoned
		}
		defer clear(w.kek)
		s, err := c.open(m)
		if err != nil {
			return err
		}
		if err := c.withKEK(m, s, w, use, f); err != nil {
			_ = c.lib.p11.CloseSession(s) // and with it goes every key that is left
			return err
		}
		m.park(s)
		return nil
	})
	if !taken.Swap(true) {
		clear(w.kek)
	}
	return err
}

func (c *conn) withKEK(m *member, s pkcs11.SessionHandle, w wrapping, use uint, f func(*member, pkcs11.SessionHandle, pkcs11.ObjectHandle) error) error {
	template := []attribute{
		{ckaClass, uint(ckoSecretKey)}, {ckaKeyType, uint(ckkAES)}, {ckaToken, false}, {ckaPrivate, true}, {ckaSensitive, true}, {ckaExtractable, false},
		{ckaEncrypt, false}, {ckaDecrypt, false}, {ckaWrap, use == ckaWrap}, {ckaUnwrap, use == ckaUnwrap},
	}
	place := c.inPlain
	if w.transport {
		place = c.transport
	}
	kek, err := place(m, s, w.kek, template)
	if err != nil {
		return err
	}
	if err := f(m, s, kek); err != nil {
		return err
	}
	return c.fail("C_DestroyObject", c.lib.p11.DestroyObject(s, kek))
}

// inPlain brings an AES key to the token by C_CreateObject.
func (c *conn) inPlain(_ *member, s pkcs11.SessionHandle, kek []byte, template []attribute) (pkcs11.ObjectHandle, error) {
	h, err := c.lib.p11.CreateObject(s, toAttributes(append(template, attribute{ckaValue, kek})))
	err = c.fail("C_CreateObject", err)
	if refused(err) {
		err = fmt.Errorf("%w: %w", errNoKEK, err)
	}
	return h, err
}
