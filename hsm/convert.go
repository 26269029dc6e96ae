//go:build cgo

package hsm

import (
	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"
)

// toAttributes makes a template of miekg's.
func toAttributes(as []attribute) []*pkcs11.Attribute {
	template := make([]*pkcs11.Attribute, len(as))
	for i, a := range as {
		template[i] = pkcs11.NewAttribute(a.typ, a.value)
	}
	return template
}

// attributeSet makes a template of crypto11's.
func attributeSet(as []attribute) (crypto11.AttributeSet, error) {
	set := crypto11.NewAttributeSet()
	for _, a := range as {
		if err := set.Set(crypto11.AttributeType(a.typ), a.value); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// toMechanism makes a mechanism of miekg's. The caller calls free after the operation has begun and ended.
func toMechanism(m mechanism) (mech []*pkcs11.Mechanism, free func()) {
	free = func() {}
	var param any
	switch {
	case m.pss != nil:
		param = pkcs11.NewPSSParams(m.pss.hash, m.pss.mgf, m.pss.salt)
	case m.oaep != nil:
		param = pkcs11.NewOAEPParams(m.oaep.hash, m.oaep.mgf, pkcs11.CKZ_DATA_SPECIFIED, m.oaep.label)
	case m.gcm != nil:
		g := pkcs11.NewGCMParams(m.gcm.nonce, m.gcm.additionalData, 128)
		param, free = g, g.Free
	}
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(m.typ, param)}, free
}
