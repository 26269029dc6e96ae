package hsm

import (
	"crypto"
	"crypto/x509"

	"github.com/hsmmirror/hsmmirror/provider"
)

// publicKey returns the public half that an object tells: a public key object, a certificate, or a private key whose module
// shows its public attributes.
func publicKey(o *object) (crypto.PublicKey, error) {
	switch {
	case o.problem != nil:
		return nil, o.problem
	case o.class == ckoCertificate:
		cert, err := x509.ParseCertificate(o.value)
		if err != nil {
			return nil, provider.Unsupportedf("certificate object: no X.509 certificate in DER")
		}
		return cert.PublicKey, nil
	case o.keyType == ckkRSA && len(o.modulus) > 0:
		return parseRSAPublic(o.modulus, o.exponent)
	case len(o.ecPoint) > 0:
		return parseECPublic(o.ecParams, o.ecPoint)
	case len(o.publicKeyInfo) > 0:
		return x509.ParsePKIXPublicKey(o.publicKeyInfo)
	}
	return nil, provider.Unsupportedf("%s object: it does not tell the public key", className(o.class))
}

// sizeOf returns the size of a key object in bits; 0 if the token does not say.
func sizeOf(o *object) int {
	if o.class == ckoSecretKey {
		return 8 * o.length
	}
	if len(o.modulus) > 0 {
		if pub, err := parseRSAPublic(o.modulus, o.exponent); err == nil {
			return pub.N.BitLen()
		}
	}
	if c, err := curveOf(o.ecParams); err == nil {
		_, bits, _ := c.alg.Bits()
		return bits
	}
	return 0
}
