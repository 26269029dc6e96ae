//go:build cgo

package hsm

import (
	"context"
	"crypto/elliptic"
	"errors"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"
)

// generationLimits is how many time limits the generation of a key may take: RSA keys take minutes on some tokens.
const generationLimits = 12

// generate lets crypto11 make the key, which knows what the modules of many makers want, or makes it by one call of ours where
// crypto11 can't: on a curve that it does not know, or on a module whose state it does not share.
func (c *conn) generate(ctx context.Context, g generation) error {
	if err := c.mayMake(ctx, roomForKey); err != nil {
		return err
	}
	var made creation
	defer made.leave()
	return c.call(ctx, generationLimits*c.cfg.Timeout, func(m *member) error {
		if !made.begin() {
			return errAbandoned
		}
		remove, err := c.generateOn(m, g)
		if wanted := made.end(); !wanted && err == nil {
			return remove()
		}
		return err
	})
}

// generateOn returns how to remove what it made.
func (c *conn) generateOn(m *member, g generation) (remove func() error, err error) {
	if g.alg == generateEdwards || g.alg == generateMontgomery || m.c11 == nil || m.c11Lost {
		return c.generateOwn(m, g)
	}
	key, call, err := generateCrypto11(m.c11, g)
	if err = c.fail(call.String(), c.p11.count(call, cause(err))); err != nil {
		return nil, once(err)
	}
	return key.Delete, nil
}

// once returns the error of crypto11 so that nothing is made again for it: crypto11 reads a key that it has made, and the code may
// be that of the reading.
func once(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	return e.as(e.Unwrap())
}

func generateCrypto11(c11 *crypto11.Context, g generation) (key interface{ Delete() error }, call function, err error) {
	private, err := attributeSet(g.private)
	if err != nil {
		return nil, fnGenerateKeyPair, err
	}
	public, err := attributeSet(g.public)
	if err != nil {
		return nil, fnGenerateKeyPair, err
	}
	switch g.alg {
	case generateRSA:
		key, err = c11.GenerateRSAKeyPairWithAttributes(public, private, g.bits)
		return key, fnGenerateKeyPair, err
	case generateEC:
		curve := map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[g.bits]
		key, err = c11.GenerateECDSAKeyPairWithAttributes(public, private, curve)
		return key, fnGenerateKeyPair, err
	case generateAES:
		key, err = c11.GenerateSecretKeyWithAttributes(private, g.bits, crypto11.CipherAES)
	case generateSecret:
		key, err = c11.GenerateSecretKeyWithAttributes(private, g.bits, crypto11.CipherGeneric)
	}
	return key, fnGenerateKey, err
}

// ownMechanisms are the mechanisms by which generateOwn makes keys.
var ownMechanisms = map[algorithm]uint{
	generateRSA:        ckmRSAPKCSKeyPairGen,
	generateEC:         ckmECKeyPairGen,
	generateEdwards:    ckmECEdwardsKeyPairGen,
	generateMontgomery: ckmECMontgomeryKeyPairGen,
	generateAES:        ckmAESKeyGen,
	generateSecret:     ckmGenericSecretKeyGen,
}

// generateOwn is one C_GenerateKeyPair or C_GenerateKey.
func (c *conn) generateOwn(m *member, g generation) (remove func() error, err error) {
	s, err := c.open(m)
	if err != nil {
		return nil, err
	}
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(ownMechanisms[g.alg], nil)}
	call, made := fnGenerateKeyPair, make([]pkcs11.ObjectHandle, 2)
	switch g.alg {
	case generateAES, generateSecret:
		call, made = fnGenerateKey, made[:1]
		made[0], err = c.p11.GenerateKey(s, mechanism, toAttributes(append(g.private, attribute{ckaValueLen, uint(g.bits / 8)})))
	case generateRSA:
		public := append(g.public, attribute{ckaModulusBits, uint(g.bits)}, attribute{ckaPublicExponent, []byte{1, 0, 1}})
		made[0], made[1], err = c.p11.GenerateKeyPair(s, mechanism, toAttributes(public), toAttributes(g.private))
	default:
		made[0], made[1], err = c.p11.GenerateKeyPair(s, mechanism, toAttributes(g.public), toAttributes(g.private))
	}
	if err != nil {
		c.discard(m, s)
		return nil, c.fail(call.String(), err)
	}
	m.park(s)
	return func() error { return c.removeMade(m, made) }, nil
}

// removeMade destroys objects that nobody waits for.
func (c *conn) removeMade(m *member, made []pkcs11.ObjectHandle) error {
	s, err := c.open(m)
	if err != nil {
		return err
	}
	defer m.park(s)
	for _, h := range made {
		err = errors.Join(err, c.fail("C_DestroyObject", c.p11.DestroyObject(s, h)))
	}
	return err
}
