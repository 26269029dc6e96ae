package hsm

import "fmt"

// Numbers of PKCS#11 v3.0 that the code uses, from pkcs11t.h. They stand here because miekg/pkcs11 needs cgo, and lacks those
// that are younger than v2.40.
const (
	ckoData        = 0x00
	ckoCertificate = 0x01
	ckoPublicKey   = 0x02
	ckoPrivateKey  = 0x03
	ckoSecretKey   = 0x04

	ckkRSA           = 0x00
	ckkEC            = 0x03
	ckkGenericSecret = 0x10
	ckkAES           = 0x1F
	ckkSHA256HMAC    = 0x2B
	ckkECEdwards     = 0x40
	ckkECMontgomery  = 0x41

	ckaClass           = 0x000
	ckaToken           = 0x001
	ckaPrivate         = 0x002
	ckaLabel           = 0x003
	ckaApplication     = 0x010
	ckaValue           = 0x011
	ckaKeyType         = 0x100
	ckaID              = 0x102
	ckaSensitive       = 0x103
	ckaEncrypt         = 0x104
	ckaDecrypt         = 0x105
	ckaWrap            = 0x106
	ckaUnwrap          = 0x107
	ckaSign            = 0x108
	ckaVerify          = 0x10A
	ckaDerive          = 0x10C
	ckaModulus         = 0x120
	ckaModulusBits     = 0x121
	ckaPublicExponent  = 0x122
	ckaPrivateExponent = 0x123
	ckaPrime1          = 0x124
	ckaPrime2          = 0x125
	ckaExponent1       = 0x126
	ckaExponent2       = 0x127
	ckaCoefficient     = 0x128
	ckaPublicKeyInfo   = 0x129
	ckaValueLen        = 0x161
	ckaExtractable     = 0x162
	ckaECParams        = 0x180
	ckaECPoint         = 0x181

	ckmRSAPKCSKeyPairGen      = 0x0000
	ckmRSAPKCS                = 0x0001
	ckmRSAX509                = 0x0003
	ckmRSAPKCSOAEP            = 0x0009
	ckmRSAPKCSPSS             = 0x000D
	ckmSHA1                   = 0x0220
	ckmSHA256                 = 0x0250
	ckmSHA256HMAC             = 0x0251
	ckmSHA384                 = 0x0260
	ckmSHA512                 = 0x0270
	ckmGenericSecretKeyGen    = 0x0350
	ckmECKeyPairGen           = 0x1040
	ckmECDSA                  = 0x1041
	ckmECDH1Derive            = 0x1050
	ckmECEdwardsKeyPairGen    = 0x1055 // Current Mechanisms v3.0 section 2.3
	ckmECMontgomeryKeyPairGen = 0x1056
	ckmEdDSA                  = 0x1057
	ckmAESKeyGen              = 0x1080
	ckmAESGCM                 = 0x1087
	ckmAESKeyWrap             = 0x2109
	ckmAESKeyWrapPad          = 0x210A
	ckmAESKeyWrapKWP          = 0x210B
	ckmAESKeyWrapPKCS7        = 0x210C

	ckfWriteProtected = 0x02    // of CK_TOKEN_INFO
	ckfLoginRequired  = 0x04    // of CK_TOKEN_INFO
	ckfWrap           = 0x20000 // of CK_MECHANISM_INFO
	ckfUnwrap         = 0x40000

	ckgMGF1SHA1   = 0x01
	ckgMGF1SHA256 = 0x02
	ckgMGF1SHA384 = 0x03
	ckgMGF1SHA512 = 0x04
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
