package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hsmmirror/hsmmirror/provider"
)

// curve is how PKCS#11 writes an elliptic curve and the points on it (Current Mechanisms v3.0, section 2.3).
type curve struct {
	name  string
	alg   provider.KeyAlg // the algorithm of keys on the curve
	oid   []byte          // CKA_EC_PARAMS by OID, DER
	text  []byte          // CKA_EC_PARAMS by name, a DER PrintableString; nil: there is none in use
	point int             // length of a public key in bytes, not wrapped
	nist  elliptic.Curve  // nil for the 25519 curves
	order []byte          // of the group, big-endian: r and s of a signature are below it; nil for the 25519 curves
}

var (
	curveP256 = &curve{name: "P-256", alg: provider.ECDSAP256SHA256, point: 65, nist: elliptic.P256(), order: elliptic.P256().Params().N.Bytes(),
		oid: []byte{0x06, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7}} // 1.2.840.10045.3.1.7
	curveP384 = &curve{name: "P-384", alg: provider.ECDSAP384SHA384, point: 97, nist: elliptic.P384(), order: elliptic.P384().Params().N.Bytes(),
		oid: []byte{0x06, 5, 0x2B, 0x81, 4, 0, 34}} // 1.3.132.0.34
	curveP521 = &curve{name: "P-521", alg: provider.ECDSAP521SHA512, point: 133, nist: elliptic.P521(), order: elliptic.P521().Params().N.Bytes(),
		oid: []byte{0x06, 5, 0x2B, 0x81, 4, 0, 35}} // 1.3.132.0.35
	curveEd25519 = &curve{name: "Ed25519", alg: provider.Ed25519, point: 32,
		oid: []byte{0x06, 3, 0x2B, 101, 112}, text: []byte("\x13\x0cedwards25519")} // RFC 8410
	curveX25519 = &curve{name: "X25519", alg: provider.X25519, point: 32,
		oid: []byte{0x06, 3, 0x2B, 101, 110}, text: []byte("\x13\x0acurve25519")}

	curves = []*curve{curveP256, curveP384, curveP521, curveEd25519, curveX25519}

	// oidGnuPG25519 is 1.3.6.1.4.1.11591.15.1. It says Ed25519, but NSS makes X25519 keys under it, and there is no
	// telling them apart.
	oidGnuPG25519 = []byte{0x06, 9, 0x2B, 6, 1, 4, 1, 0xDA, 0x47, 15, 1}
)

// curveFor returns the curve of an algorithm's keys; nil if they are on none.
func curveFor(alg provider.KeyAlg) *curve {
	i := slices.IndexFunc(curves, func(c *curve) bool { return c.alg == alg })
	if i < 0 {
		return nil
	}
	return curves[i]
}

// curveOf returns the curve that CKA_EC_PARAMS names. [provider.ErrUnsupported] for one that we don't know,
// [provider.ErrTampered] for what is no name of a curve.
func curveOf(params []byte) (*curve, error) {
	for _, c := range curves {
		if bytes.Equal(params, c.oid) || c.text != nil && bytes.Equal(params, c.text) {
			return c, nil
		}
	}
	in, out := cryptobyte.String(params), cryptobyte.String(nil)
	var oid asn1.ObjectIdentifier
	var tag cbasn1.Tag
	switch {
	case bytes.Equal(params, oidGnuPG25519):
		return nil, provider.Unsupportedf("CKA_EC_PARAMS 1.3.6.1.4.1.11591.15.1 means Ed25519 to some tools and X25519 to NSS: want 1.3.101.112 or 1.3.101.110")
	case len(params) == 0:
		return nil, damagedf("CKA_EC_PARAMS is empty: want the curve's OID or name in DER")
	case !in.ReadAnyASN1(&out, &tag) || !in.Empty():
		return nil, damagedf("CKA_EC_PARAMS of %d bytes is no DER: want the curve's OID or name", len(params))
	case tag == cbasn1.SEQUENCE:
		return nil, provider.Unsupportedf("CKA_EC_PARAMS spells its curve out: want one of %s by OID or name", curveNames())
	case tag == cbasn1.PrintableString:
		return nil, provider.Unsupportedf("CKA_EC_PARAMS names the curve %.40q: want one of %s", out, curveNames())
	}
	if in = params; !in.ReadASN1ObjectIdentifier(&oid) {
		return nil, damagedf("CKA_EC_PARAMS has the DER tag 0x%02X: want the curve's OID or name", uint8(tag))
	}
	return nil, provider.Unsupportedf("CKA_EC_PARAMS names the curve %v: want one of %s", oid, curveNames())
}

// parseECPublic returns the public key that CKA_EC_PARAMS and CKA_EC_POINT describe, which is a point on the curve:
// *ecdsa.PublicKey, ed25519.PublicKey or an X25519 *ecdh.PublicKey. Errors as for curveOf.
func parseECPublic(params, point []byte) (crypto.PublicKey, error) {
	c, err := curveOf(params)
	if err != nil {
		return nil, err
	}
	raw, err := c.unwrap(point)
	if err != nil {
		return nil, err
	}
	switch c {
	case curveEd25519:
		if !onEdwards25519(raw) {
			return nil, damagedf("CKA_EC_POINT is not on the curve of Ed25519")
		}
		return ed25519.PublicKey(slices.Clone(raw)), nil
	case curveX25519:
		return ecdh.X25519().NewPublicKey(raw)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(c.nist, raw)
	if err != nil {
		return nil, damagedf("CKA_EC_POINT is not an uncompressed point on %s", c.name)
	}
	return pub, nil
}

// encodeECPublic returns the CKA_EC_PARAMS (by OID) and the CKA_EC_POINT (wrapped) of a public key on one of the curves.
// [provider.ErrInvalid] for any other key.
func encodeECPublic(pub crypto.PublicKey) (params, point []byte, err error) {
	c, raw, err := pointOf(pub)
	if err != nil {
		return nil, nil, err
	}
	return slices.Clone(c.oid), c.wrap(raw), nil
}

// pointOf returns the curve of a public key, and the key as a point on it.
func pointOf(pub crypto.PublicKey) (*curve, []byte, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		i := slices.IndexFunc(curves, func(c *curve) bool { return c.nist != nil && c.nist == k.Curve })
		if i < 0 {
			return nil, nil, provider.Invalidf("ECDSA public key: want it on P-256, P-384 or P-521")
		}
		raw, err := k.Bytes()
		if err != nil {
			return nil, nil, provider.Invalidf("ECDSA public key: not a point on %s", curves[i].name)
		}
		return curves[i], raw, nil
	case ed25519.PublicKey:
		if !onEdwards25519(k) {
			return nil, nil, provider.Invalidf("Ed25519 public key of %d bytes: want the 32 bytes of a point on the curve", len(k))
		}
		return curveEd25519, k, nil
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			return curveX25519, k.Bytes(), nil
		}
	}
	return nil, nil, provider.Invalidf("public key of type %T: want one on %s", pub, curveNames())
}

// unwrap returns the point itself from a CKA_EC_POINT. Modules give it bare, as a DER OCTET STRING (what the specification
// wants for the NIST curves) or as a BIT STRING. Its length tells which: a bare point of P-256 whose x begins with 0x41
// can be taken for DER as well, but is two bytes shorter.
func (c *curve) unwrap(point []byte) ([]byte, error) {
	octets, bits := derHeader(0x04, c.point), append(derHeader(0x03, c.point+1), 0)
	for _, header := range [][]byte{nil, octets, bits} {
		if len(point) != len(header)+c.point {
			continue
		}
		raw, ok := bytes.CutPrefix(point, header)
		if !ok {
			return nil, damagedf("CKA_EC_POINT of %d bytes for %s begins with %X: want %X", len(point), c.name, point[:len(header)], header)
		}
		return raw, nil
	}
	return nil, damagedf("CKA_EC_POINT of %d bytes for %s: want %d, or %d as OCTET STRING, or %d as BIT STRING",
		len(point), c.name, c.point, len(octets)+c.point, len(bits)+c.point)
}

// wrap returns a point as a DER OCTET STRING.
func (c *curve) wrap(raw []byte) []byte { return append(derHeader(0x04, len(raw)), raw...) }

// derHeader returns the tag and the length of a DER value of n bytes, 255 at most.
func derHeader(tag byte, n int) []byte {
	if n < 0x80 {
		return []byte{tag, byte(n)}
	}
	return []byte{tag, 0x81, byte(n)}
}

func curveNames() string {
	names := make([]string, len(curves))
	for i, c := range curves {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// damagedf is a [provider.ErrTampered]: the token gave what no token that works gives.
func damagedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", provider.ErrTampered, fmt.Errorf(format, args...))
}
