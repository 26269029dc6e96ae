//go:build cgo && unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// bare is miekg/pkcs11 with a session for each goroutine and nothing around it: no deadline, no pool, no recovery.
type bare struct {
	p11      *pkcs11.Ctx
	slot     uint
	sessions []pkcs11.SessionHandle // the first one logged in
}

func openMiekg(_ context.Context, o opening) (contender, error) {
	p11 := pkcs11.New(o.module)
	if p11 == nil {
		return nil, fmt.Errorf("module %s can't be loaded", o.module)
	}
	if err := p11.Initialize(); err != nil {
		return nil, err
	}
	c := &bare{p11: p11}
	if err := c.findToken(o.token); err != nil {
		return nil, err
	}
	if err := c.grow(1); err != nil {
		return nil, err
	}
	return c, p11.Login(c.sessions[0], pkcs11.CKU_USER, string(o.pin.Expose()))
}

func (c *bare) findToken(label string) error {
	slots, err := c.p11.GetSlotList(true)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(slots, func(slot uint) bool {
		info, err := c.p11.GetTokenInfo(slot)
		return err == nil && info.Label == label
	})
	if i < 0 {
		return fmt.Errorf("no token %s", label)
	}
	c.slot = slots[i]
	return nil
}

// grow opens sessions until there are n.
func (c *bare) grow(n int) error {
	for len(c.sessions) < n {
		s, err := c.p11.OpenSession(c.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			return err
		}
		c.sessions = append(c.sessions, s)
	}
	return nil
}

// find returns the private key with the given label.
func (c *bare) find(label string) (pkcs11.ObjectHandle, error) {
	return c.first([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)})
}

// first returns an object that matches.
func (c *bare) first(match []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	s := c.sessions[0]
	if err := c.p11.FindObjectsInit(s, match); err != nil {
		return 0, err
	}
	found, _, err := c.p11.FindObjects(s, 1)
	if err := errors.Join(err, c.p11.FindObjectsFinal(s)); err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, errors.New("no such object on the token")
	}
	return found[0], nil
}

func (c *bare) prepare(_ context.Context, op operation, n int) ([]func() error, error) {
	alg := op.alg()
	if alg == "" {
		return nil, errNotOffered
	}
	key, err := c.find(label(string(alg)))
	if err != nil {
		return nil, err
	}
	if err := c.grow(n); err != nil {
		return nil, err
	}
	mechanism, data := rawSignature(alg)
	all := make([]func() error, n)
	for i := range all {
		s := c.sessions[i]
		all[i] = func() error {
			if err := c.p11.SignInit(s, mechanism, key); err != nil {
				return err
			}
			_, err := c.p11.Sign(s, data)
			return err
		}
	}
	return all, nil
}

// rawSignature returns the mechanism of an algorithm, and what the token is given to sign.
func rawSignature(alg provider.KeyAlg) ([]*pkcs11.Mechanism, []byte) {
	one := func(m uint) []*pkcs11.Mechanism { return []*pkcs11.Mechanism{pkcs11.NewMechanism(m, nil)} }
	switch alg {
	case provider.Ed25519:
		return one(0x1057), digest[:] // CKM_EDDSA, PKCS#11 v3.0 section 2.3.14
	case provider.RSAPKCS1SHA256:
		prefix := "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20" // RFC 8017 section 9.2 note 1
		return one(pkcs11.CKM_RSA_PKCS), append([]byte(prefix), digest[:]...)
	}
	return one(pkcs11.CKM_ECDSA), digest[:]
}

func (c *bare) Close() error {
	err := c.p11.Finalize()
	c.p11.Destroy()
	return err
}
