//go:build cgo

package hsm

import (
	"context"
	"errors"
	"slices"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (c *conn) create(ctx context.Context, template []attribute) error {
	if err := c.mayMake(ctx, 1); err != nil {
		wipe(template)
		return err
	}
	var made creation
	err := c.do(ctx, func(_ *member, s pkcs11.SessionHandle) error {
		if !made.begin() {
			return errAbandoned
		}
		h, err := c.p11.CreateObject(s, toAttributes(template))
		err = c.fail("C_CreateObject", err)
		wanted := made.end()
		if wanted && undone(err) {
			return err // it may be made again
		}
		wipe(template)
		if !wanted && err == nil {
			err = c.fail("C_DestroyObject", c.p11.DestroyObject(s, h))
		}
		return err
	})
	if made.leave() {
		wipe(template)
	}
	return err
}

func (c *conn) destroy(ctx context.Context, o *object) error {
	m, err := c.ready(ctx)
	if err != nil {
		return err
	}
	err = c.destroyOnce(ctx, o)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == pkcs11.CKR_FUNCTION_FAILED && quirksOf(m.info).holdsKeys {
		c.restart(m, nil, c.startAfresh)
		return errMoved
	}
	return err
}

func (c *conn) destroyOnce(ctx context.Context, o *object) error {
	return c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if o.epoch != m.epoch {
			return errMoved
		}
		err := c.p11.DestroyObject(s, pkcs11.ObjectHandle(o.handle))
		if isGone(err) {
			return c.there(m, s) // gone already, if the token can be believed
		}
		if o.handle == 1 && quirksOf(m.info).repeatsHandles {
			c.lib.repeats.Store(true)
		}
		return c.fail("C_DestroyObject", err)
	})
}

func (c *conn) relabel(ctx context.Context, o *object, label string) error {
	return c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if o.epoch != m.epoch {
			return errMoved
		}
		value := []*pkcs11.Attribute{pkcs11.NewAttribute(ckaLabel, label)}
		return c.fail("C_SetAttributeValue", c.p11.SetAttributeValue(s, pkcs11.ObjectHandle(o.handle), value))
	})
}

// isGone tells whether a module says that there is no object with a handle. tpm2-pkcs11 takes every object for a key.
func isGone(err error) bool {
	return errors.Is(err, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)) || errors.Is(err, pkcs11.Error(pkcs11.CKR_KEY_HANDLE_INVALID))
}

// upToDate starts a module afresh that would write over what others have stored since it was started.
func (c *conn) upToDate(ctx context.Context, m *member) error {
	if !quirksOf(m.info).writesFromMemory {
		return nil
	}
	return c.afresh(ctx)
}

func (c *conn) mayMistake() bool { return c.lib.fromMemory.Load() }

func (c *conn) afresh(ctx context.Context) error {
	m, err := c.ready(ctx)
	if err == nil {
		c.restart(m, nil, c.startAfresh)
		_, err = c.ready(ctx)
	}
	return err
}

// mayMake starts a module afresh that would give the next object the handle of another one. The next operation waits for it.
// provider.ErrUnsupported on a token that may hold more objects than its module shows, or has no room for so many more of a kind: the new
// one would hide another, or take its place.
func (c *conn) mayMake(ctx context.Context, more int) error {
	m, err := c.ready(ctx)
	if err == nil && c.lib.repeats.Load() {
		c.restart(m, nil, c.startAfresh)
	}
	if err != nil {
		return err
	}
	if q := quirksOf(m.info); q.shortSearch == 0 && q.mostOfAKind == 0 {
		return nil
	}
	return c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		all, err := c.searchIn(s, nil)
		if err != nil {
			return err
		}
		return errors.Join(m.info.cutShort(len(all)), c.roomIn(m, s, more))
	})
}

// roomIn returns provider.ErrUnsupported if there is no room for so many more objects of each kind that we make.
func (c *conn) roomIn(m *member, s pkcs11.SessionHandle, more int) error {
	if quirksOf(m.info).mostOfAKind == 0 {
		return nil
	}
	for _, class := range []uint{ckoData, ckoPublicKey, ckoPrivateKey} {
		all, err := c.searchIn(s, []*pkcs11.Attribute{pkcs11.NewAttribute(ckaClass, class)})
		if err == nil {
			err = m.info.crowded(len(all), more)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// roomForKey is how many objects of a kind the making of a key and its end may take beside what there is: a record and a tombstone, and
// one to spare.
const roomForKey = 3

func (c *conn) sign(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error) {
	return c.operate(ctx, key, m, data, steps{"C_Sign", module.SignInit, module.Sign})
}

func (c *conn) decrypt(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error) {
	return c.operate(ctx, key, m, data, steps{"C_Decrypt", module.DecryptInit, module.Decrypt})
}

func (c *conn) encrypt(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error) {
	return c.operate(ctx, key, m, data, steps{"C_Encrypt", module.EncryptInit, module.Encrypt})
}

func (c *conn) verify(ctx context.Context, key *object, m mechanism, data, signature []byte) error {
	signature = slices.Clone(signature)
	verify := func(p11 module, s pkcs11.SessionHandle, data []byte, _ int) ([]byte, error) {
		return nil, p11.Verify(s, data, signature)
	}
	_, err := c.operate(ctx, key, m, data, steps{"C_Verify", module.VerifyInit, verify})
	return err
}

// steps are the two calls of an operation with a key.
type steps struct {
	name  string // of the final call
	begin func(module, pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error
	final func(module, pkcs11.SessionHandle, []byte, int) ([]byte, error)
}

// operate is one Init and one final call with a key.
func (c *conn) operate(ctx context.Context, key *object, mech mechanism, data []byte, do steps) ([]byte, error) {
	data, mech = slices.Clone(data), mech.clone()
	var out []byte
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if key.epoch != m.epoch {
			return errMoved
		}
		param, free := toMechanism(mech)
		defer free()
		if err := do.begin(c.p11, s, param, pkcs11.ObjectHandle(key.handle)); err != nil {
			return c.fail(do.name+"Init", err)
		}
		if key.alwaysAuth {
			if err := c.logInFor(m, s); err != nil {
				return err
			}
		}
		var err error
		if out, err = do.final(c.p11, s, data, mech.room(len(data))); err != nil {
			return c.explain(m, do.name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// takesInput are the calls that can fail for what they are given, and do so with a code of classDevice on some modules.
var takesInput = []string{"C_Decrypt", "C_Verify", "C_UnwrapKey"}

// explain tells a refused input from a dead token where the module does not: SoftHSM2 answers both with one code, and NSS answers
// a wrong MAC with the code of some earlier call. If the token is there, it was the input.
func (c *conn) explain(m *member, call string, err error) error {
	failed := c.fail(call, err)
	var e *Error
	if !errors.As(failed, &e) {
		return failed
	}
	is := classOf(e.Code)
	vague := is == classDevice && slices.Contains(takesInput, call) || call == "C_Verify" && slices.Contains([]class{classVendor, classCaller}, is)
	if vague && c.probe(m) == nil {
		return e.as(provider.ErrInvalid)
	}
	return failed
}

func (c *conn) derive(ctx context.Context, key *object, peer []byte) ([]byte, error) {
	var secret []byte
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if key.epoch != m.epoch {
			return errMoved
		}
		h, err := c.p11.DeriveKey(s, agreement(peer), pkcs11.ObjectHandle(key.handle), sharedSecret())
		if err != nil {
			return c.fail("C_DeriveKey", err)
		}
		defer func() { _ = c.p11.DestroyObject(s, h) }()
		values, err := c.p11.attributes(s, h, []uint{pkcs11.CKA_VALUE})
		if err != nil {
			return c.fail("C_GetAttributeValue", err)
		}
		secret = values[0]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}

// agreement is CKM_ECDH1_DERIVE with a peer's public key, without a key derivation function.
func agreement(peer []byte) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE, pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, peer))}
}

// sharedSecret is the template of the session object in which the token leaves what it has derived, to be read out.
func sharedSecret() []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
	}
}

func (c *conn) random(ctx context.Context, n int) ([]byte, error) {
	var out []byte
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		var err error
		if out, err = c.p11.GenerateRandom(s, n); err != nil {
			return c.fail("C_GenerateRandom", err)
		}
		return c.present(m)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
