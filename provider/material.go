package provider

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"reflect"
	"slices"
	"strings"
)

// KeyMaterial is a key that comes from outside a store.
type KeyMaterial struct {
	// Private is the private half as PKCS #8, PKCS #1 or SEC 1, in DER, or the first one in PEM, not encrypted; or the bytes of a
	// symmetric key. The store neither keeps nor wipes it.
	Private Secret
	// Public is the public half as SubjectPublicKeyInfo, in DER or PEM. It may be left out if Private is given.
	Public []byte
}

// Material returns the material of a private key of the standard library: *rsa.PrivateKey, *ecdsa.PrivateKey,
// ed25519.PrivateKey or an X25519 *ecdh.PrivateKey.
func Material(key crypto.PrivateKey) (KeyMaterial, error) {
	if k, ok := key.(ed25519.PrivateKey); isNil(key) || ok && len(k) != ed25519.PrivateKeySize {
		return KeyMaterial{}, notAKey("private", key)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyMaterial{}, notAKey("private", key)
	}
	defer clear(der)
	return KeyMaterial{Private: NewSecret(der)}, nil
}

// PublicMaterial returns the material of a public key of the standard library, without a private half.
func PublicMaterial(key crypto.PublicKey) (KeyMaterial, error) {
	if isNil(key) {
		return KeyMaterial{}, notAKey("public", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return KeyMaterial{}, notAKey("public", key)
	}
	return KeyMaterial{Public: der}, nil
}

// isNil tells whether key is nothing, or a nil pointer to a key, at which the standard library panics.
func isNil(key any) bool {
	v := reflect.ValueOf(key)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

func notAKey(half string, key any) error {
	return Invalidf("%s key of type %T: want a key of crypto/rsa, ecdsa, ed25519 or ecdh, and neither nil nor empty", half, key)
}

// ParsedMaterial is checked material.
type ParsedMaterial struct {
	Private   crypto.PrivateKey // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey or *ecdh.PrivateKey; nil: none given
	Public    crypto.PublicKey  // the public half; nil for a symmetric key
	Symmetric Secret            // a symmetric key
	Bits      int               // size in bits
}

// Parse checks m against spec, which [KeySpec.Normalize] returned, and returns its keys: the types and sizes that the
// algorithm wants, and halves that belong together. A zero size in the caller's spec takes any size that the algorithm
// allows. It returns [ErrInvalid] otherwise, with no byte of m in the text.
func (m KeyMaterial) Parse(alg KeyAlg, bits int) (ParsedMaterial, error) {
	if err := alg.Validate(); err != nil {
		return ParsedMaterial{}, err
	}
	p, err := m.parse(alg)
	if err != nil {
		return ParsedMaterial{}, err
	}
	if bits != 0 && p.Bits != bits {
		return ParsedMaterial{}, Invalidf("%s key of %d bits: want %d", alg, p.Bits, bits)
	}
	return p, nil
}

func (m KeyMaterial) parse(alg KeyAlg) (ParsedMaterial, error) {
	if alg.Class() == Symmetric {
		return m.parseSymmetric(alg)
	}
	var p ParsedMaterial
	var err error
	if !m.Private.Empty() {
		if p.Private, err = parsePrivate(m.Private.Expose()); err != nil {
			return p, err
		}
		p.Public = p.Private.(interface{ Public() crypto.PublicKey }).Public()
	}
	if len(m.Public) > 0 {
		pub, err := parsePublic(m.Public)
		if err != nil {
			return p, err
		}
		if p.Public != nil && !samePublic(p.Public, pub) {
			return p, Invalidf("private and public key do not belong together")
		}
		p.Public = pub
	}
	if p.Public == nil {
		return p, Invalidf("no key material: want a private or a public key for %s", alg)
	}
	p.Bits, err = CheckPublic(alg, p.Public)
	return p, err
}

func (m KeyMaterial) parseSymmetric(alg KeyAlg) (ParsedMaterial, error) {
	if len(m.Public) > 0 {
		return ParsedMaterial{}, Invalidf("public key for %s: want none, the algorithm is symmetric", alg)
	}
	b := m.Private.Expose()
	if least, _, most := alg.Bits(); len(b)*8 < least || len(b)*8 > most {
		return ParsedMaterial{}, Invalidf("%s key of %d bytes: want %d to %d", alg, len(b), least/8, most/8)
	}
	return ParsedMaterial{Symmetric: NewSecret(b), Bits: len(b) * 8}, nil
}

// CheckPublic returns the size of pub in bits, or [ErrInvalid] unless pub is a public key for alg: of the right type and
// curve, on the curve, and for RSA of an allowed size with the exponent 3 or more and odd.
func CheckPublic(alg KeyAlg, pub crypto.PublicKey) (bits int, err error) {
	wrong := func() (int, error) {
		return 0, Invalidf("%T for %s: want a key of type %s %s", pub, alg, alg.KeyType(), alg.Curve())
	}
	if isNil(pub) {
		return wrong()
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if alg.KeyType() != "RSA" {
			return wrong()
		}
		if k.N == nil || k.E < 3 || k.E%2 == 0 || k.N.Bit(0) == 0 {
			return 0, Invalidf("RSA public key: want an odd modulus and an odd exponent of 3 or more")
		}
		bits = k.N.BitLen()
	case *ecdsa.PublicKey:
		if alg.KeyType() != "EC" || k.Curve == nil || k.Curve.Params().Name != alg.Curve() {
			return wrong()
		}
		if _, err := k.ECDH(); err != nil {
			return 0, Invalidf("%s public key: not a point on the curve", alg)
		}
		bits = k.Curve.Params().BitSize
	case ed25519.PublicKey:
		if alg != Ed25519 {
			return wrong()
		}
		if len(k) != ed25519.PublicKeySize {
			return 0, Invalidf("Ed25519 public key of %d bytes: want %d", len(k), ed25519.PublicKeySize)
		}
		bits = 256
	case *ecdh.PublicKey:
		if alg != X25519 || k.Curve() != ecdh.X25519() {
			return wrong()
		}
		bits = 256
	default:
		return wrong()
	}
	return bits, checkBits(alg, bits)
}

// parsePrivate reads DER, or the first private key in PEM: OpenSSL writes EC PARAMETERS before some. Its errors tell nothing of the
// bytes, which may be a secret of another kind. That the numbers of an RSA key belong together is checked in package x509.
func parsePrivate(b []byte) (crypto.PrivateKey, error) {
	for rest := b; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		defer clear(block.Bytes)
		b, rest = block.Bytes, after
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			break
		}
	}
	if k, err := x509.ParsePKCS8PrivateKey(b); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PrivateKey(b); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(b); err == nil {
		return k, nil
	}
	return nil, Invalidf("private key of %d bytes: want PKCS #8, PKCS #1 or SEC 1 in DER or PEM, not encrypted", len(b))
}

func parsePublic(b []byte) (crypto.PublicKey, error) {
	if block, _ := pem.Decode(b); block != nil {
		if block.Type != "PUBLIC KEY" {
			return nil, Invalidf("PEM block in place of a public key: want PUBLIC KEY (SubjectPublicKeyInfo)")
		}
		b = block.Bytes
	}
	k, err := x509.ParsePKIXPublicKey(slices.Clone(b)) // an Ed25519 key would be a part of b
	if err != nil {
		return nil, Invalidf("public key of %d bytes: want SubjectPublicKeyInfo in DER or PEM", len(b))
	}
	return k, nil
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
