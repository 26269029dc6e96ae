package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Public keys from RFC 6979 appendix A.2.5, RFC 8032 section 7.1 and RFC 7748 section 6.1.
const (
	p256Point    = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
	ed25519Point = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
	x25519Point  = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// multiple returns the point k·G.
func multiple(t testing.TB, c elliptic.Curve, k int64) []byte {
	scalar := big.NewInt(k).FillBytes(make([]byte, (c.Params().BitSize+7)/8))
	key, err := ecdsa.ParseRawPrivateKey(c, scalar)
	require.NoError(t, err)
	raw, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	return raw
}

func TestParseECPublic(t *testing.T) {
	p256, ed, x := unhex(t, p256Point), unhex(t, ed25519Point), unhex(t, x25519Point)
	p384, p521 := multiple(t, elliptic.P384(), 7), multiple(t, elliptic.P521(), 7)
	with := func(header string, raw []byte) []byte { return append(unhex(t, header), raw...) }
	tests := []struct {
		name   string
		params string
		point  []byte
		want   []byte
	}{
		{"P-256 bare", "06082a8648ce3d030107", p256, p256},
		{"P-256 in an OCTET STRING", "06082a8648ce3d030107", with("0441", p256), p256},
		{"P-256 in a BIT STRING", "06082a8648ce3d030107", with("034200", p256), p256},
		{"P-384 bare", "06052b81040022", p384, p384},
		{"P-384 in an OCTET STRING", "06052b81040022", with("0461", p384), p384},
		{"P-521 bare", "06052b81040023", p521, p521},
		{"P-521 in an OCTET STRING with a long length", "06052b81040023", with("048185", p521), p521},
		{"P-521 in a BIT STRING with a long length", "06052b81040023", with("03818600", p521), p521},
		{"Ed25519 by OID, bare", "06032b6570", ed, ed},
		{"Ed25519 by OID, in an OCTET STRING", "06032b6570", with("0420", ed), ed},
		{"Ed25519 by name, in an OCTET STRING", "130c656477617264733235353139", with("0420", ed), ed},
		{"Ed25519 in a BIT STRING", "06032b6570", with("032100", ed), ed},
		{"X25519 by OID, bare", "06032b656e", x, x},
		{"X25519 by name, in an OCTET STRING", "130a63757276653235353139", with("0420", x), x},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			params := unhex(t, tt.params)
			given := slices.Clone(tt.point)
			pub, err := parseECPublic(params, tt.point)
			require.NoError(t, err)
			c, raw, err := pointOf(pub)
			require.NoError(t, err)
			require.Equal(t, tt.want, raw)
			require.True(t, bytes.Equal(params, c.oid) || bytes.Equal(params, c.text))
			require.Equal(t, given, tt.point, "the caller's slice is left as it was")
			_, err = provider.CheckPublic(c.alg, pub)
			require.NoError(t, err)
		})
	}
}

// TestParseECPublicDecidesByLength has points whose bytes can be taken for DER (OpenSC/pkcs11-provider #766).
func TestParseECPublicDecidesByLength(t *testing.T) {
	var p256 []byte
	for k := int64(1); len(p256) == 0 || p256[1] != 0x41; k++ {
		p256 = multiple(t, elliptic.P256(), k)
	}
	for _, point := range [][]byte{p256, append([]byte{0x04, 0x41}, p256...)} {
		pub, err := parseECPublic(curveP256.oid, point)
		require.NoError(t, err)
		raw, err := pub.(*ecdsa.PublicKey).Bytes()
		require.NoError(t, err)
		require.Equal(t, p256, raw)
	}

	x := append([]byte{0x04, 0x1E}, bytes.Repeat([]byte{7}, 30)...) // bare, and the DER of 30 bytes
	for _, point := range [][]byte{x, append([]byte{0x04, 0x20}, x...)} {
		pub, err := parseECPublic(curveX25519.oid, point)
		require.NoError(t, err)
		require.Equal(t, x, pub.(*ecdh.PublicKey).Bytes())
	}
}

func TestParseECPublicRefuses(t *testing.T) {
	p256, ed := unhex(t, p256Point), unhex(t, ed25519Point)
	off := slices.Clone(p256)
	off[64] ^= 1
	edwards := func(edit func(b []byte)) []byte {
		b := slices.Clone(ed)
		edit(b)
		return b
	}
	const known = "P-256, P-384, P-521, Ed25519, X25519"
	tests := []struct {
		name   string
		params string
		point  []byte
		is     error
		text   string
	}{
		{"no parameters", "", p256, provider.ErrTampered, "CKA_EC_PARAMS is empty: want the curve's OID or name in DER"},
		{"truncated parameters", "06082a8648ce3d0301", p256, provider.ErrTampered, "CKA_EC_PARAMS of 9 bytes is no DER: want the curve's OID or name"},
		{"parameters with a byte too many", "06082a8648ce3d03010700", p256, provider.ErrTampered, "CKA_EC_PARAMS of 11 bytes is no DER: want the curve's OID or name"},
		{"parameters of another type", "0500", p256, provider.ErrTampered, "CKA_EC_PARAMS has the DER tag 0x05: want the curve's OID or name"},
		{"parameters with a broken OID", "06022a86", p256, provider.ErrTampered, "CKA_EC_PARAMS has the DER tag 0x06: want the curve's OID or name"},
		{"parameters that spell the curve out", "3003020101", p256, provider.ErrUnsupported, "CKA_EC_PARAMS spells its curve out: want one of " + known + " by OID or name"},
		{"secp256k1", "06052b8104000a", p256, provider.ErrUnsupported, "CKA_EC_PARAMS names the curve 1.3.132.0.10: want one of " + known},
		{"Ed448 by name", "130a65647761726473343438", ed, provider.ErrUnsupported, `CKA_EC_PARAMS names the curve "edwards448": want one of ` + known},
		{"the OID under which NSS makes X25519 keys", "06092b06010401da470f01", ed, provider.ErrUnsupported, "CKA_EC_PARAMS 1.3.6.1.4.1.11591.15.1 means Ed25519 to some tools and X25519 to NSS: want 1.3.101.112 or 1.3.101.110"},

		{"no point", "06082a8648ce3d030107", nil, provider.ErrTampered, "CKA_EC_POINT of 0 bytes for P-256: want 65, or 67 as OCTET STRING, or 68 as BIT STRING"},
		{"a point without its first byte", "06082a8648ce3d030107", p256[1:], provider.ErrTampered, "CKA_EC_POINT of 64 bytes for P-256: want 65, or 67 as OCTET STRING, or 68 as BIT STRING"},
		{"a compressed point", "06082a8648ce3d030107", append([]byte{3}, p256[1:33]...), provider.ErrTampered, "CKA_EC_POINT of 33 bytes for P-256: want 65, or 67 as OCTET STRING, or 68 as BIT STRING"},
		{"a point of P-256 on P-521", "06052b81040023", p256, provider.ErrTampered, "CKA_EC_POINT of 65 bytes for P-521: want 133, or 136 as OCTET STRING, or 137 as BIT STRING"},
		{"a point of P-256 for Ed25519", "06032b6570", p256, provider.ErrTampered, "CKA_EC_POINT of 65 bytes for Ed25519: want 32, or 34 as OCTET STRING, or 35 as BIT STRING"},
		{"a wrong tag", "06082a8648ce3d030107", append([]byte{5, 0x41}, p256...), provider.ErrTampered, "CKA_EC_POINT of 67 bytes for P-256 begins with 0541: want 0441"},
		{"a wrong length", "06082a8648ce3d030107", append([]byte{4, 0x42}, p256...), provider.ErrTampered, "CKA_EC_POINT of 67 bytes for P-256 begins with 0442: want 0441"},
		{"a BIT STRING with unused bits", "06032b6570", append([]byte{3, 0x21, 1}, ed...), provider.ErrTampered, "CKA_EC_POINT of 35 bytes for Ed25519 begins with 032101: want 032100"},
		{"a point beside the curve", "06082a8648ce3d030107", off, provider.ErrTampered, "CKA_EC_POINT is not an uncompressed point on P-256"},
		{"the form of a hybrid point", "06082a8648ce3d030107", append([]byte{6}, p256[1:]...), provider.ErrTampered, "CKA_EC_POINT is not an uncompressed point on P-256"},
		{"the zero point", "06082a8648ce3d030107", append([]byte{4}, make([]byte, 64)...), provider.ErrTampered, "CKA_EC_POINT is not an uncompressed point on P-256"},
		{"an Ed25519 point beside the curve", "06032b6570", edwards(func(b []byte) { b[0] ^= 1 }), provider.ErrTampered, "CKA_EC_POINT is not on the curve of Ed25519"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pub, err := parseECPublic(unhex(t, tt.params), tt.point)
			require.ErrorIs(t, err, tt.is)
			require.Nil(t, pub)
			require.EqualError(t, err, tt.is.Error()+": "+tt.text)
		})
	}
}

func TestOnEdwards25519(t *testing.T) {
	p := "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	tests := []struct {
		name string
		hex  string
		want bool
	}{
		{"a key of RFC 8032", ed25519Point, true},
		{"the same point with the other sign", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707519a", true},
		{"the neutral element", "01" + strings.Repeat("00", 31), true},
		{"the neutral element with a sign", "01" + strings.Repeat("00", 30) + "80", false},
		{"the base point", "58" + strings.Repeat("66", 31), true},
		{"a y that no point has", "02" + strings.Repeat("00", 31), false},
		{"y of p, which is 0 not reduced", p[:62] + "7f", false},
		{"31 bytes", strings.Repeat("66", 31), false},
		{"33 bytes", "58" + strings.Repeat("66", 32), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, onEdwards25519(unhex(t, tt.hex)))
		})
	}
	for range 50 {
		pub, _, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		require.True(t, onEdwards25519(pub))
	}
}

func TestEncodeECPublic(t *testing.T) {
	for _, c := range curves {
		t.Run(c.name, func(t *testing.T) {
			pub := generatePublic(t, c)
			params, point, err := encodeECPublic(pub)
			require.NoError(t, err)
			require.Equal(t, c.oid, params)
			require.Equal(t, byte(0x04), point[0])
			back, err := parseECPublic(params, point)
			require.NoError(t, err)
			require.Equal(t, pub, back)

			params[2]++
			require.NotEqual(t, c.oid, params, "the table is not handed out")
			require.Same(t, c, curveFor(c.alg))
		})
	}
	require.Nil(t, curveFor(provider.RSAPSSSHA256))
}

func TestEncodeECPublicRefuses(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), nil)
	require.NoError(t, err)
	p256, err := ecdh.P256().GenerateKey(nil)
	require.NoError(t, err)
	tests := []struct {
		name string
		key  crypto.PublicKey
		text string
	}{
		{"another curve", &p224.PublicKey, "invalid: ECDSA public key: want it on P-256, P-384 or P-521"},
		{"ECDH on P-256", p256.PublicKey(), "invalid: public key of type *ecdh.PublicKey: want one on P-256, P-384, P-521, Ed25519, X25519"},
		{"RSA", &rsa.PublicKey{}, "invalid: public key of type *rsa.PublicKey: want one on P-256, P-384, P-521, Ed25519, X25519"},
		{"nothing", nil, "invalid: public key of type <nil>: want one on P-256, P-384, P-521, Ed25519, X25519"},
		{"a short Ed25519 key", ed25519.PublicKey{1, 2}, "invalid: Ed25519 public key of 2 bytes: want the 32 bytes of a point on the curve"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := encodeECPublic(tt.key)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.EqualError(t, err, tt.text)
		})
	}
}

func generatePublic(t testing.TB, c *curve) crypto.PublicKey {
	return publicOf(t, generatePrivate(t, c))
}

func publicOf(t testing.TB, key crypto.PrivateKey) crypto.PublicKey {
	k, ok := key.(interface{ Public() crypto.PublicKey })
	require.True(t, ok)
	return k.Public()
}

func generatePrivate(t testing.TB, c *curve) crypto.PrivateKey {
	var key crypto.PrivateKey
	var err error
	switch c {
	case curveEd25519:
		_, key, err = ed25519.GenerateKey(nil)
	case curveX25519:
		key, err = ecdh.X25519().GenerateKey(nil)
	default:
		key, err = ecdsa.GenerateKey(c.nist, nil)
	}
	require.NoError(t, err)
	return key
}

// FuzzParseECPublic looks for a panic, and for a key that is not the one that was given.
func FuzzParseECPublic(f *testing.F) {
	for _, c := range curves {
		params, point, err := encodeECPublic(generatePublic(f, c))
		require.NoError(f, err)
		f.Add(params, point)
		f.Add(c.text, point[2:])
		f.Add(params, point[:len(point)-1])
	}
	f.Add([]byte{0x30, 3, 2, 1, 1}, []byte{4})
	f.Fuzz(func(t *testing.T, params, point []byte) {
		pub, err := parseECPublic(params, point)
		if err != nil {
			require.Nil(t, pub)
			return
		}
		c, raw, err := pointOf(pub)
		require.NoError(t, err)
		require.True(t, bytes.HasSuffix(point, raw))
		back, err := parseECPublic(c.oid, c.wrap(raw))
		require.NoError(t, err)
		require.Equal(t, pub, back)
	})
}
