package hsm

import "fmt"

// Numbers of PKCS#11 v3.0 that miekg/pkcs11 v1.1.2, which stops at v2.40, lacks. They carry the specification's names.
const (
	CKM_EC_EDWARDS_KEY_PAIR_GEN    = 0x1055 // Current Mechanisms v3.0, section 2.3
	CKM_EC_MONTGOMERY_KEY_PAIR_GEN = 0x1056
	CKM_EDDSA                      = 0x1057
	CKM_AES_KEY_WRAP_KWP           = 0x210B // RFC 5649; CKM_AES_KEY_WRAP_PAD differs between modules

	CKK_EC_EDWARDS    = 0x40
	CKK_EC_MONTGOMERY = 0x41
)

// mechanismName returns the CKM_ name of a mechanism, such as CKM_ECDSA; for an unknown one its number.
func mechanismName(mechanism uint) string { return nameOf(mechanismNames, "CKM", mechanism) }

// keyTypeName returns the CKK_ name of a key type, such as CKK_EC; for an unknown one its number.
func keyTypeName(keyType uint) string { return nameOf(keyTypeNames, "CKK", keyType) }

// className returns the CKO_ name of an object class, such as CKO_PRIVATE_KEY; for an unknown one its number.
func className(class uint) string { return nameOf(classNames, "CKO", class) }

func nameOf(names map[uint]string, prefix string, n uint) string {
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprintf("%s_0x%08X", prefix, n)
}
