//go:build cgo

package hsm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"hash"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// transport brings an AES key to the token by RSAES-OAEP, under a pair that lives as long as this call.
func (c *conn) transport(m *member, s pkcs11.SessionHandle, kek []byte, template []attribute) (pkcs11.ObjectHandle, error) {
	public, private, err := c.transportPair(m, s)
	if err != nil {
		return 0, err
	}
	defer func() { // on failure the session's end destroys them
		_ = c.p11.DestroyObject(s, public)
		_ = c.p11.DestroyObject(s, private)
	}()
	values, err := (&reader{c: c, s: s, h: public}).attributes(ckaModulus, ckaPublicExponent)
	if err != nil {
		return 0, c.fail("C_GetAttributeValue", err)
	}
	pub, err := parseRSAPublic(values[0], values[1])
	if err != nil {
		return 0, err
	}
	params, h := transportOAEP(quirksOf(m.info))
	encrypted, err := rsa.EncryptOAEP(h, rand.Reader, pub, kek, nil)
	if err != nil {
		return 0, err
	}
	mech, free := toMechanism(mechanism{typ: ckmRSAPKCSOAEP, oaep: params})
	defer free()
	handle, err := c.p11.UnwrapKey(s, mech, private, encrypted, toAttributes(template))
	return handle, c.fail("C_UnwrapKey", err)
}

// transportPair makes an RSA pair that can do nothing but unwrap.
func (c *conn) transportPair(m *member, s pkcs11.SessionHandle) (public, private pkcs11.ObjectHandle, err error) {
	bits := uint(provider.DefaultRSABits)
	if most := m.mechanisms[ckmRSAPKCSKeyPairGen].max; most != 0 {
		bits = min(bits, most)
	}
	public, private, err = c.p11.GenerateKeyPair(s, plainMechanism(ckmRSAPKCSKeyPairGen), toAttributes([]attribute{
		{ckaToken, false}, {ckaPrivate, false}, {ckaModulusBits, bits}, {ckaPublicExponent, []byte{1, 0, 1}},
		{ckaEncrypt, false}, {ckaVerify, false}, {ckaWrap, true},
	}), toAttributes([]attribute{
		{ckaToken, false}, {ckaPrivate, true}, {ckaSensitive, true}, {ckaExtractable, false},
		{ckaDecrypt, false}, {ckaSign, false}, {ckaUnwrap, true},
	}))
	return public, private, c.fail("C_GenerateKeyPair", err)
}

// transportOAEP returns the parameters of OAEP, and its hash: SHA-256, or SHA-1 where the module takes no other, which is no weaker
// in this place: OAEP does not rely on collisions being hard to find.
func transportOAEP(q quirks) (*oaepParams, hash.Hash) {
	if q.oaepSHA1Only {
		return &oaepParams{hash: ckmSHA1, mgf: ckgMGF1SHA1}, sha1.New()
	}
	return &oaepParams{hash: ckmSHA256, mgf: ckgMGF1SHA256}, sha256.New()
}
