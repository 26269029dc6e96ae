package softfile

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/hsmmirror/hsmmirror/provider"
)

// publicJWK holds the members of a public JWK that RFC 7638 makes the thumbprint of, and no other: there is no place in
// it for a private one, and nothing that the record says too.
type publicJWK struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

// UnmarshalJSON refuses what decodeStrict refuses.
func (k *publicJWK) UnmarshalJSON(data []byte) error {
	type plain publicJWK
	return decodeStrict(data, (*plain)(k))
}

var errPublicJWK = errors.New("public JWK: not a public key in its one form")

// newPublicJWK returns the one form that a public key has in a record.
func newPublicJWK(public crypto.PublicKey) (publicJWK, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return publicJWK{Kty: "RSA", N: encodeInt(k.N), E: encodeInt(big.NewInt(int64(k.E)))}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, then x and y of equal length
		if err != nil {
			return publicJWK{}, fmt.Errorf("public JWK: %w", err)
		}
		half := len(point) / 2
		return publicJWK{Kty: "EC", Crv: k.Curve.Params().Name, X: b64.EncodeToString(point[1 : 1+half]), Y: b64.EncodeToString(point[1+half:])}, nil
	case ed25519.PublicKey:
		return publicJWK{Kty: "OKP", Crv: "Ed25519", X: b64.EncodeToString(k)}, nil
	case *ecdh.PublicKey:
		return publicJWK{Kty: "OKP", Crv: "X25519", X: b64.EncodeToString(k.Bytes())}, nil
	}
	return publicJWK{}, fmt.Errorf("public JWK of a %T", public)
}

// key returns the public key. It accepts nothing but what newPublicJWK makes.
func (k publicJWK) key() (crypto.PublicKey, error) {
	public, err := k.decode()
	if err != nil {
		return nil, err
	}
	if again, err := newPublicJWK(public); err != nil || again != k {
		return nil, errPublicJWK
	}
	return public, nil
}

func (k publicJWK) decode() (crypto.PublicKey, error) {
	x, errX := b64.DecodeString(k.X)
	y, errY := b64.DecodeString(k.Y)
	n, errN := b64.DecodeString(k.N)
	e, errE := b64.DecodeString(k.E)
	if errors.Join(errX, errY, errN, errE) != nil {
		return nil, errPublicJWK
	}
	switch curve := k.curve(); {
	case curve != nil:
		return ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	case k.Kty == "OKP" && k.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x), nil
	case k.Kty == "OKP" && k.Crv == "X25519":
		return ecdh.X25519().NewPublicKey(x)
	case k.Kty == "RSA" && len(e) <= 4:
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
	}
	return nil, errPublicJWK
}

// curve returns the curve of an EC key, or nil.
func (k publicJWK) curve() elliptic.Curve {
	switch k.Kty + k.Crv {
	case "ECP-256":
		return elliptic.P256()
	case "ECP-384":
		return elliptic.P384()
	case "ECP-521":
		return elliptic.P521()
	}
	return nil
}

// thumbprint is that of RFC 7638: the SHA-256 of the required members in the order of their names.
func (k publicJWK) thumbprint() string {
	var text string
	switch k.Kty {
	case "EC":
		text = fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, k.Crv, k.X, k.Y)
	case "OKP":
		text = fmt.Sprintf(`{"crv":%q,"kty":"OKP","x":%q}`, k.Crv, k.X)
	case "RSA":
		text = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, k.E, k.N)
	}
	sum := sha256.Sum256([]byte(text))
	return b64.EncodeToString(sum[:])
}

// encodeInt is Base64urlUInt of RFC 7518 section 2.
func encodeInt(n *big.Int) string { return b64.EncodeToString(n.Bytes()) }

// publicFor returns the record's form of the public half of a key, and its thumbprint; nothing for a symmetric key.
func publicFor(key provider.ParsedMaterial) (*publicJWK, string, error) {
	if key.Public == nil {
		return nil, "", nil
	}
	public, err := newPublicJWK(key.Public)
	if err != nil {
		return nil, "", err
	}
	return &public, public.thumbprint(), nil
}
