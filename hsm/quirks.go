package hsm

import (
	"context"

	"github.com/hsmmirror/hsmmirror/provider"
)

// quirks are the ways in which a module departs from the specification and that have to be known before a call. What shows by
// itself, such as a refused parameter, needs no entry.
type quirks struct {
	// oaepSHA1Only: it lists CKM_RSA_PKCS_OAEP and takes no other hash than SHA-1 (CKR_ARGUMENTS_BAD).
	oaepSHA1Only bool
	// montgomeryIsEdwards: it keeps X25519 keys as CKK_EC_EDWARDS, and makes them by CKM_EC_EDWARDS_KEY_PAIR_GEN.
	montgomeryIsEdwards bool
	// forgetsOthers: when it stores an object while another process does, it may not show the other's until something else
	// is stored. Writers of one host then take turns (link.exclusive).
	forgetsOthers bool
	// wrapsNoEdwards: C_WrapKey and C_UnwrapKey refuse its CKK_EC_EDWARDS keys (CKR_KEY_NOT_WRAPPABLE, CKR_FUNCTION_FAILED). Those that
	// may be exported are made with CKA_SENSITIVE false, and read.
	wrapsNoEdwards bool
}

// quirksOf returns the quirks of a module by what its tokens say of themselves, which also comes through p11-kit's remoting.
func quirksOf(t TokenInfo) quirks {
	if t.Manufacturer == "SoftHSM project" { // 2.6.1 and 2.7.0 were tried
		return quirks{oaepSHA1Only: true, montgomeryIsEdwards: true, forgetsOthers: true, wrapsNoEdwards: true}
	}
	return quirks{}
}

// keyTypeOf returns the CKK_ value of an algorithm's keys.
func (q quirks) keyTypeOf(a provider.KeyAlg) uint {
	switch {
	case a.KeyType() == "RSA":
		return ckkRSA
	case a.KeyType() == "EC":
		return ckkEC
	case a == provider.Ed25519, a == provider.X25519 && q.montgomeryIsEdwards:
		return ckkECEdwards
	case a == provider.X25519:
		return ckkECMontgomery
	case a == provider.AES256GCM:
		return ckkAES
	}
	return ckkGenericSecret
}

// readable tells whether the private key of a version has to be made with CKA_SENSITIVE false: it may be exported, and the token
// can't wrap it.
func (q quirks) readable(r record) bool {
	return r.Export == provider.ExportSecretWhenAllowed && q.wrapsNoEdwards && r.Alg.KeyType() == "OKP"
}

// quirks returns those of the token's module.
func (t *Token) quirks(ctx context.Context) (quirks, error) {
	info, _, err := t.link.token(ctx)
	return quirksOf(info), err
}

// fits tells whether a key of the given type can be for an algorithm, with the quirks of any module.
func fits(a provider.KeyAlg, keyType uint) bool {
	if a == provider.HMACSHA256 && keyType == ckkSHA256HMAC {
		return true
	}
	return keyType == quirks{}.keyTypeOf(a) || keyType == quirks{montgomeryIsEdwards: true}.keyTypeOf(a)
}
