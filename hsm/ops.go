//go:build cgo

package hsm

import (
	"context"
	"crypto/elliptic"
	"errors"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// generationLimits is how many time limits the generation of a key may take: RSA keys take minutes on some tokens.
const generationLimits = 12

func (c *conn) generate(ctx context.Context, g generation) error {
	return c.callOnce(ctx, generationLimits*c.cfg.Timeout, func(m *member) error {
		switch g.alg {
		case generateEdwards:
			return c.generateCurve(m, ckmECEdwardsKeyPairGen, g)
		case generateMontgomery:
			return c.generateCurve(m, ckmECMontgomeryKeyPairGen, g)
		}
		call, err := generateCrypto11(m.c11, g)
		return c.fail(call, cause(err))
	})
}

// generateCrypto11 makes the keys that crypto11 knows how to make.
func generateCrypto11(c11 *crypto11.Context, g generation) (call string, err error) {
	private, err := attributeSet(g.private)
	if err != nil {
		return "", err
	}
	public, err := attributeSet(g.public)
	if err != nil {
		return "", err
	}
	switch g.alg {
	case generateRSA:
		_, err = c11.GenerateRSAKeyPairWithAttributes(public, private, g.bits)
		return "C_GenerateKeyPair", err
	case generateEC:
		curve := map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[g.bits]
		_, err = c11.GenerateECDSAKeyPairWithAttributes(public, private, curve)
		return "C_GenerateKeyPair", err
	case generateAES:
		_, err = c11.GenerateSecretKeyWithAttributes(private, g.bits, crypto11.CipherAES)
	case generateSecret:
		_, err = c11.GenerateSecretKeyWithAttributes(private, g.bits, crypto11.CipherGeneric)
	}
	return "C_GenerateKey", err
}

// generateCurve makes a pair on a curve that crypto11 does not know.
func (c *conn) generateCurve(m *member, mechanism uint, g generation) error {
	s, err := c.open(m)
	if err != nil {
		return err
	}
	_, _, err = c.lib.p11.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, toAttributes(g.public), toAttributes(g.private))
	if err != nil {
		_ = c.lib.p11.CloseSession(s)
		return c.fail("C_GenerateKeyPair", err)
	}
	m.park(s)
	return nil
}

func (c *conn) create(ctx context.Context, template []attribute) (*object, error) {
	var made *object
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		h, err := c.lib.p11.CreateObject(s, toAttributes(template))
		if err != nil {
			return c.fail("C_CreateObject", err)
		}
		made = &object{epoch: m.epoch, handle: uint(h)}
		return nil
	})
	return made, err
}

func (c *conn) destroy(ctx context.Context, o *object) error {
	return c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if o.epoch != m.epoch {
			return errMoved
		}
		err := c.lib.p11.DestroyObject(s, pkcs11.ObjectHandle(o.handle))
		if errors.Is(err, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)) {
			return c.present(m) // gone already, if the token can be believed
		}
		return c.fail("C_DestroyObject", err)
	})
}

func (c *conn) sign(ctx context.Context, key *object, mech mechanism, data []byte) ([]byte, error) {
	return c.operate(ctx, key, mech, "C_Sign", func(s pkcs11.SessionHandle) ([]byte, error) { return c.lib.p11.Sign(s, data) }, c.lib.p11.SignInit)
}

func (c *conn) decrypt(ctx context.Context, key *object, mech mechanism, data []byte) ([]byte, error) {
	return c.operate(ctx, key, mech, "C_Decrypt", func(s pkcs11.SessionHandle) ([]byte, error) { return c.lib.p11.Decrypt(s, data) }, c.lib.p11.DecryptInit)
}

func (c *conn) encrypt(ctx context.Context, key *object, mech mechanism, data []byte) ([]byte, error) {
	return c.operate(ctx, key, mech, "C_Encrypt", func(s pkcs11.SessionHandle) ([]byte, error) { return c.lib.p11.Encrypt(s, data) }, c.lib.p11.EncryptInit)
}

func (c *conn) verify(ctx context.Context, key *object, mech mechanism, data, signature []byte) error {
	_, err := c.operate(ctx, key, mech, "C_Verify", func(s pkcs11.SessionHandle) ([]byte, error) {
		return nil, c.lib.p11.Verify(s, data, signature)
	}, c.lib.p11.VerifyInit)
	return err
}

// operate is one Init and one final call with a key.
func (c *conn) operate(ctx context.Context, key *object, mech mechanism, call string,
	final func(pkcs11.SessionHandle) ([]byte, error), begin func(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error,
) ([]byte, error) {
	var out []byte
	err := c.do(ctx, func(m *member, s pkcs11.SessionHandle) error {
		if key.epoch != m.epoch {
			return errMoved
		}
		param, free := toMechanism(mech)
		defer free()
		if err := begin(s, param, pkcs11.ObjectHandle(key.handle)); err != nil {
			return c.fail(call+"Init", err)
		}
		var err error
		if out, err = final(s); err != nil {
			return c.explain(m, call, err)
		}
		return nil
	})
	return out, err
}

// explain tells a refused input from a dead token where the module answers both with one code, as SoftHSM2 does to a bad
// ciphertext: if the token is there, it was the input.
func (c *conn) explain(m *member, call string, err error) error {
	failed := c.fail(call, err)
	var e *Error
	if (call == "C_Decrypt" || call == "C_Verify") && errors.As(failed, &e) && classOf(e.Code) == classDevice && c.probe(m) == nil {
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
		params := pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, peer)
		h, err := c.lib.p11.DeriveKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE, params)}, pkcs11.ObjectHandle(key.handle), []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		})
		if err != nil {
			return c.fail("C_DeriveKey", err)
		}
		defer func() { _ = c.lib.p11.DestroyObject(s, h) }()
		a, err := c.lib.p11.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
		if err != nil {
			return c.fail("C_GetAttributeValue", err)
		}
		secret = a[0].Value
		return nil
	})
	return secret, err
}

func (c *conn) random(ctx context.Context, n int) ([]byte, error) {
	var out []byte
	err := c.do(ctx, func(_ *member, s pkcs11.SessionHandle) error {
		var err error
		out, err = c.lib.p11.GenerateRandom(s, n)
		return c.fail("C_GenerateRandom", err)
	})
	return out, err
}
