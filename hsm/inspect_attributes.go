package hsm

import (
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"
)

// attributeKind is how the bytes of an attribute are to be understood.
type attributeKind int

const (
	kindBytes     attributeKind = iota
	kindBool                    // CK_BBOOL
	kindNumber                  // CK_ULONG
	kindBig                     // unsigned, big-endian
	kindText                    // RFC 2279
	kindDate                    // CK_DATE
	kindKeyType                 // CK_KEY_TYPE
	kindMechanism               // CK_MECHANISM_TYPE
	kindMechanisms
	kindCertificate // CK_CERTIFICATE_TYPE
	kindSize        // of the value, which is not shown
	kindOID         // DER
)

// readable is an attribute that inspection reads.
type readable struct {
	typ  uint
	name string
	kind attributeKind
}

// The attributes by class, PKCS#11 v3.0 section 4. Those that hold a secret are not among them: CKA_VALUE of keys, the private
// numbers, and CKA_CHECK_VALUE, which lets a guess be checked.
var (
	everyObject = []readable{
		{0x001, "CKA_TOKEN", kindBool}, {0x002, "CKA_PRIVATE", kindBool}, {0x170, "CKA_MODIFIABLE", kindBool},
		{0x171, "CKA_COPYABLE", kindBool}, {0x172, "CKA_DESTROYABLE", kindBool}, {0x004, "CKA_UNIQUE_ID", kindText},
	}
	everyKey = []readable{
		{0x110, "CKA_START_DATE", kindDate}, {0x111, "CKA_END_DATE", kindDate}, {0x163, "CKA_LOCAL", kindBool},
		{0x166, "CKA_KEY_GEN_MECHANISM", kindMechanism}, {0x40000600, "CKA_ALLOWED_MECHANISMS", kindMechanisms},
	}
	everyPrivate = []readable{
		{0x103, "CKA_SENSITIVE", kindBool}, {0x162, "CKA_EXTRACTABLE", kindBool}, {0x165, "CKA_ALWAYS_SENSITIVE", kindBool},
		{0x164, "CKA_NEVER_EXTRACTABLE", kindBool}, {0x210, "CKA_WRAP_WITH_TRUSTED", kindBool},
	}
	publicNumbers = []readable{
		{0x120, "CKA_MODULUS", kindBig}, {0x122, "CKA_PUBLIC_EXPONENT", kindBig},
		{0x180, "CKA_EC_PARAMS", kindBytes}, {0x181, "CKA_EC_POINT", kindBytes}, {0x129, "CKA_PUBLIC_KEY_INFO", kindBytes},
	}
	useEncrypt, useDecrypt = readable{0x104, "CKA_ENCRYPT", kindBool}, readable{0x105, "CKA_DECRYPT", kindBool}
	useSign, useVerify     = readable{0x108, "CKA_SIGN", kindBool}, readable{0x10A, "CKA_VERIFY", kindBool}
	useWrap, useUnwrap     = readable{0x106, "CKA_WRAP", kindBool}, readable{0x107, "CKA_UNWRAP", kindBool}
	useDerive              = readable{0x10C, "CKA_DERIVE", kindBool}
	useSignRecover         = readable{0x109, "CKA_SIGN_RECOVER", kindBool}
	useVerifyRecover       = readable{0x10B, "CKA_VERIFY_RECOVER", kindBool}
	alwaysAuthenticate     = readable{0x202, "CKA_ALWAYS_AUTHENTICATE", kindBool}
	trusted                = readable{0x086, "CKA_TRUSTED", kindBool}
	subject                = readable{0x101, "CKA_SUBJECT", kindBytes}
)

var attributesOf = map[uint][]readable{
	ckoData: slices.Concat(everyObject, []readable{{0x010, "CKA_APPLICATION", kindText}, {0x012, "CKA_OBJECT_ID", kindOID}, {0x011, "CKA_VALUE", kindSize}}),
	ckoCertificate: slices.Concat(everyObject, []readable{
		{0x080, "CKA_CERTIFICATE_TYPE", kindCertificate}, trusted, {0x087, "CKA_CERTIFICATE_CATEGORY", kindNumber},
		{0x110, "CKA_START_DATE", kindDate}, {0x111, "CKA_END_DATE", kindDate}, {0x083, "CKA_URL", kindText}, {0x011, "CKA_VALUE", kindBytes},
	}),
	ckoPublicKey: slices.Concat(everyObject, everyKey, []readable{useEncrypt, useVerify, useVerifyRecover, useWrap, useDerive, trusted, subject}, publicNumbers),
	ckoPrivateKey: slices.Concat(everyObject, everyKey, everyPrivate,
		[]readable{alwaysAuthenticate, useDecrypt, useSign, useSignRecover, useUnwrap, useDerive, subject}, publicNumbers),
	ckoSecretKey: slices.Concat(everyObject, everyKey, everyPrivate,
		[]readable{useEncrypt, useDecrypt, useSign, useVerify, useWrap, useUnwrap, useDerive, trusted, {0x161, "CKA_VALUE_LEN", kindNumber}}),
	0x05: slices.Concat(everyObject, []readable{{0x300, "CKA_HW_FEATURE_TYPE", kindNumber}}),
	0x06: slices.Concat(everyObject, []readable{{0x163, "CKA_LOCAL", kindBool}}),
	0x07: {{0x500, "CKA_MECHANISM_TYPE", kindMechanism}},
	0x09: slices.Concat(everyObject, []readable{{0x601, "CKA_PROFILE_ID", kindNumber}}),
}

// decode returns the value of an attribute as [Attribute] describes it; nil for one that is empty. What has not the form of its
// kind is shown as the bytes that it is.
func (k attributeKind) decode(b []byte) any {
	switch {
	case k == kindSize:
		return uint64(len(b))
	case len(b) == 0:
		return nil
	case k == kindBool && len(b) == 1:
		return b[0] != 0
	case k == kindBig:
		return new(big.Int).SetBytes(b).Text(16)
	case k == kindText && utf8.Valid(b):
		return string(b)
	case k == kindDate && len(b) == 8:
		return date(string(b))
	case k == kindOID:
		var oid asn1.ObjectIdentifier
		if rest, err := asn1.Unmarshal(b, &oid); err == nil && len(rest) == 0 {
			return oid.String()
		}
	case k == kindMechanisms:
		return mechanismList(b)
	}
	if n, ok := ulong(b); ok {
		switch k {
		case kindNumber:
			return uint64(n)
		case kindKeyType:
			return keyTypeName(n)
		case kindMechanism:
			if n == ^uint(0) {
				return nil // CK_UNAVAILABLE_INFORMATION: made elsewhere
			}
			return mechanismName(n)
		case kindCertificate:
			return certificateTypeName(n)
		}
	}
	return b
}

// date writes a CK_DATE with dashes. Some modules fill one that is not set with zeros or blanks.
func date(s string) any {
	if strings.Trim(s, "0 \x00") == "" {
		return nil
	}
	return s[:4] + "-" + s[4:6] + "-" + s[6:]
}

func mechanismList(b []byte) any {
	const size = 8 // of a CK_ULONG, wherever Go runs on 64 bits
	if len(b)%size != 0 {
		return b
	}
	names := []string{}
	for ; len(b) > 0; b = b[size:] {
		names = append(names, mechanismName(uint(binary.NativeEndian.Uint64(b))))
	}
	return names
}

// ulong reads a CK_ULONG, a C long, in the machine's byte order.
func ulong(b []byte) (uint, bool) {
	switch len(b) {
	case 4:
		return uint(binary.NativeEndian.Uint32(b)), true
	case 8:
		return uint(binary.NativeEndian.Uint64(b)), true
	}
	return 0, false
}

func certificateTypeName(n uint) string {
	return nameOf(map[uint]string{0: "CKC_X_509", 1: "CKC_X_509_ATTR_CERT", 2: "CKC_WTLS", 0x80000000: "CKC_VENDOR_DEFINED"}, "CKC", n)
}
