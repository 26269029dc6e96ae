//go:build cgo && unix

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// makeKeys makes a key of each algorithm, and many to look up. hsm.Token makes the first of those; the others follow its example,
// because SoftHSM2 searches so slowly that to make thousands with all the searches of CreateKey would take most of an hour. At the
// end hsm.Token says that it has all of them.
func makeKeys(ctx context.Context, o opening, algs []provider.KeyAlg) error {
	if err := makeByToken(ctx, o, algs); err != nil {
		return err
	}
	c, err := openMiekg(ctx, o)
	if err != nil {
		return err
	}
	b := c.(*bare)
	record, err := b.record(kid(0))
	for i := 1; i < o.keys && err == nil; i++ {
		err = b.follow(record, kid(i))
	}
	if err := errors.Join(err, b.Close()); err != nil {
		return err
	}
	return verifyKeys(ctx, o, len(algs)+o.keys)
}

// makeByToken makes the keys of the algorithms and the first of the others.
func makeByToken(ctx context.Context, o opening, algs []provider.KeyAlg) (err error) {
	token, err := openToken(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	for _, alg := range algs {
		least, _, _ := alg.Bits() // 2048 for RSA; the others have one size
		if _, err := token.CreateKey(ctx, provider.KeySpec{KID: string(alg), Alg: alg, Bits: least}); err != nil {
			return err
		}
	}
	_, err = token.CreateKey(ctx, provider.KeySpec{KID: kid(0), Alg: provider.ECDSAP256SHA256})
	return err
}

func verifyKeys(ctx context.Context, o opening, want int) (err error) {
	token, err := openToken(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	set, err := token.JWKS(ctx, "")
	if err != nil {
		return err
	}
	if len(set.Keys()) != want {
		return fmt.Errorf("the token shows %d keys: want %d", len(set.Keys()), want)
	}
	return nil
}

// record returns the value of the data object of a key.
func (c *bare) record(kid string) (map[string]any, error) {
	s := c.sessions[0]
	match := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_LABEL, kid)}
	h, err := c.first(match)
	if err != nil {
		return nil, err
	}
	values, err := c.p11.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	if err != nil {
		return nil, err
	}
	var record map[string]any
	return record, json.Unmarshal(values[0].Value, &record)
}

// follow makes a P-256 key with a record like the given one.
func (c *bare) follow(record map[string]any, kid string) error {
	s := c.sessions[0]
	id := []byte(kid)
	of := func(private bool) []*pkcs11.Attribute {
		return []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, private),
			pkcs11.NewAttribute(pkcs11.CKA_ID, id), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label(kid)),
		}
	}
	params, err := hex.DecodeString("06082a8648ce3d030107") // the OID of P-256 (RFC 5480 section 2.1.1.1)
	if err != nil {
		return err
	}
	public := append(of(false), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params))
	private := append(of(true), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true))
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)}
	half, _, err := c.p11.GenerateKeyPair(s, mechanism, public, private)
	if err != nil {
		return err
	}
	fingerprint, err := c.fingerprint(half)
	if err != nil {
		return err
	}
	record["kid"], record["id"], record["fingerprint"] = kid, hex.EncodeToString(id), fingerprint
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = c.p11.CreateObject(s, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, "hsmmirror"),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, kid), pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
	})
	return err
}

// fingerprint is the thumbprint of a P-256 public key object. SoftHSM2 shows its point as a DER OCTET STRING.
func (c *bare) fingerprint(public pkcs11.ObjectHandle) (string, error) {
	values, err := c.p11.GetAttributeValue(c.sessions[0], public, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	if err != nil {
		return "", err
	}
	const header = 2 // tag and length
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), values[0].Value[header:])
	if err != nil {
		return "", err
	}
	return provider.Thumbprint(key)
}
