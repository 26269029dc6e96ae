//go:build cgo

package hsm

import (
	"context"
	"crypto/elliptic"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"
)

// generationLimits is how many time limits the generation of a key may take: RSA keys take minutes on some tokens.
const generationLimits = 12

// generate lets crypto11 make the key, which knows what the modules of many makers want, or makes it by one call of ours where
// crypto11 can't: on a curve that it does not know, or on a module whose state it does not share.
func (c *conn) generate(ctx context.Context, g generation) error {
	return c.call(ctx, generationLimits*c.cfg.Timeout, func(m *member) error {
		if g.alg == generateEdwards || g.alg == generateMontgomery || m.c11 == nil || m.c11Lost {
			return c.generateOwn(m, g)
		}
		call, err := generateCrypto11(m.c11, g)
		return c.fail(call.String(), c.p11.count(call, cause(err)))
	})
}

func generateCrypto11(c11 *crypto11.Context, g generation) (call function, err error) {
	private, err := attributeSet(g.private)
	if err != nil {
		return fnGenerateKeyPair, err
	}
	public, err := attributeSet(g.public)
	if err != nil {
		return fnGenerateKeyPair, err
	}
	switch g.alg {
	case generateRSA:
		_, err = c11.GenerateRSAKeyPairWithAttributes(public, private, g.bits)
		return fnGenerateKeyPair, err
	case generateEC:
		curve := map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[g.bits]
		_, err = c11.GenerateECDSAKeyPairWithAttributes(public, private, curve)
		return fnGenerateKeyPair, err
	case generateAES:
		_, err = c11.GenerateSecretKeyWithAttributes(private, g.bits, crypto11.CipherAES)
	case generateSecret:
		_, err = c11.GenerateSecretKeyWithAttributes(private, g.bits, crypto11.CipherGeneric)
	}
	return fnGenerateKey, err
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
func (c *conn) generateOwn(m *member, g generation) error {
	s, err := c.open(m)
	if err != nil {
		return err
	}
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(ownMechanisms[g.alg], nil)}
	call := "C_GenerateKeyPair"
	switch g.alg {
	case generateAES, generateSecret:
		call = "C_GenerateKey"
		_, err = c.p11.GenerateKey(s, mechanism, toAttributes(append(g.private, attribute{ckaValueLen, uint(g.bits / 8)})))
	case generateRSA:
		public := append(g.public, attribute{ckaModulusBits, uint(g.bits)}, attribute{ckaPublicExponent, []byte{1, 0, 1}})
		err = c.p11.GenerateKeyPair(s, mechanism, toAttributes(public), toAttributes(g.private))
	default:
		err = c.p11.GenerateKeyPair(s, mechanism, toAttributes(g.public), toAttributes(g.private))
	}
	if err != nil {
		c.discard(m, s)
		return c.fail(call, err)
	}
	m.park(s)
	return nil
}
