//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// object reads an object, one attribute at a time: some modules refuse all of them when one is unknown or broken. It returns nil
// for an object that is gone.
func (v *visit) object(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) (*object, ObjectInfo) {
	o, info := &object{handle: uint(h), class: classUnknown}, ObjectInfo{}
	class, err := v.value(s, h, ckaClass)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)) {
		return nil, info
	}
	if n, ok := ulong(class); err == nil && ok {
		o.class = n
	} else {
		o.problem = fmt.Errorf("CKA_CLASS can't be read: %w", newError("", "C_GetAttributeValue", err))
	}
	label, _ := v.value(s, h, ckaLabel)
	o.label = string(label)
	o.id, _ = v.value(s, h, ckaID)
	keyType, _ := v.value(s, h, ckaKeyType)
	o.keyType, _ = ulong(keyType)
	list, known := attributesOf[o.class]
	if !known {
		list = everyObject
	}
	for _, a := range list {
		v.attribute(s, h, a, o, &info)
	}
	if o.class == ckoPrivateKey || o.class == ckoSecretKey {
		o.evidence = evidenceOf(info)
	}
	return o, info
}

// attribute reads one attribute into o, as far as it is of use there, and into info.
func (v *visit) attribute(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, a readable, o *object, info *ObjectInfo) {
	b, err := v.value(s, h, a.typ)
	switch {
	case absent(err):
		return
	case err != nil:
		var code pkcs11.Error
		errors.As(err, &code)
		info.Unreadable = append(info.Unreadable, a.name+": "+codeName(uint(code)))
		return
	}
	o.set(a.typ, b)
	if value := a.kind.decode(b); value != nil {
		info.Attributes = append(info.Attributes, Attribute{a.name, value})
	}
}

// absent tells whether an object has no such attribute, or keeps it to itself. wolfPKCS11 says so by CK_UNAVAILABLE_INFORMATION, which
// is a length and no code.
func absent(err error) bool {
	var code pkcs11.Error
	return errors.As(err, &code) && slices.Contains([]uint{pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_SENSITIVE, pkcs11.CK_UNAVAILABLE_INFORMATION}, uint(code))
}

// set keeps what the rest of the package knows how to use.
func (o *object) set(typ uint, b []byte) {
	switch typ {
	case ckaPrivate:
		o.private = isTrue(b)
	case ckaApplication:
		o.application = string(b)
	case ckaValue:
		o.value = b
	case ckaModulus:
		o.modulus = b
	case ckaPublicExponent:
		o.exponent = b
	case ckaECParams:
		o.ecParams = b
	case ckaECPoint:
		o.ecPoint = b
	case ckaPublicKeyInfo:
		o.publicKeyInfo = b
	case ckaValueLen:
		n, _ := ulong(b)
		o.length = int(n)
	}
}

func (v *visit) value(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, typ uint) ([]byte, error) {
	v.trace.call("C_GetAttributeValue")
	read, err := v.p11.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(typ, nil)})
	if err != nil {
		return nil, err
	}
	return read[0].Value, nil
}

// evidenceOf returns what the attributes tell of a key's protection.
func evidenceOf(info ObjectInfo) *provider.Evidence {
	flag := func(name string) *bool {
		if b, ok := info.Attribute(name).(bool); ok {
			return &b
		}
		return nil
	}
	e := &provider.Evidence{
		Sensitive: flag("CKA_SENSITIVE"), Extractable: flag("CKA_EXTRACTABLE"), AlwaysSensitive: flag("CKA_ALWAYS_SENSITIVE"),
		NeverExtractable: flag("CKA_NEVER_EXTRACTABLE"), Local: flag("CKA_LOCAL"),
	}
	e.KeyGenMechanism, _ = info.Attribute("CKA_KEY_GEN_MECHANISM").(string)
	return e
}
