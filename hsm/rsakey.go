package hsm

import (
	"crypto/rsa"
	"math/big"

	"github.com/hsmmirror/hsmmirror/provider"
)

// maxRSABits bounds the work that a modulus from a token can cause.
const maxRSABits = 16384

// parseRSAPublic returns the public key of CKA_MODULUS and CKA_PUBLIC_EXPONENT, both unsigned and big-endian. Leading
// zeros, which some modules give, are no error. [provider.ErrTampered] if they are no RSA key,
// [provider.ErrUnsupported] if the exponent has more than 31 bits, which Go does not take, or the modulus more than 16384.
func parseRSAPublic(modulus, exponent []byte) (*rsa.PublicKey, error) {
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	switch {
	case n.BitLen() > maxRSABits:
		return nil, provider.Unsupportedf("CKA_MODULUS of %d bits: want at most %d", n.BitLen(), maxRSABits)
	case e.BitLen() > 31:
		return nil, provider.Unsupportedf("CKA_PUBLIC_EXPONENT of %d bits: want at most 31", e.BitLen())
	case n.BitLen() < 2 || n.Bit(0) == 0:
		return nil, damagedf("CKA_MODULUS of %d bytes is no modulus: want an odd number", len(modulus))
	case e.Cmp(big.NewInt(3)) < 0 || e.Bit(0) == 0:
		return nil, damagedf("CKA_PUBLIC_EXPONENT %v: want an odd number of 3 or more", e)
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// encodeRSAPublic returns the CKA_MODULUS and the CKA_PUBLIC_EXPONENT of pub.
func encodeRSAPublic(pub *rsa.PublicKey) (modulus, exponent []byte) {
	return pub.N.Bytes(), big.NewInt(int64(pub.E)).Bytes()
}
