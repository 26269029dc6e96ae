package softfile

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// privateJWK is the JWK of a private or secret key (RFC 7518 section 6, RFC 8037 section 2) as it stands encrypted in a
// record. Besides the key it says what the key is and may do, so that neither the key can be moved to another record nor
// the record be changed to allow more: kid, alg, key_ops, and ext (W3C Web Cryptography API) for the export policy.
type privateJWK struct {
	Kty    string   `json:"kty"`
	Crv    string   `json:"crv,omitempty"`
	X      string   `json:"x,omitempty"`
	Y      string   `json:"y,omitempty"`
	N      string   `json:"n,omitempty"`
	E      string   `json:"e,omitempty"`
	D      string   `json:"d,omitempty"`
	P      string   `json:"p,omitempty"`
	Q      string   `json:"q,omitempty"`
	DP     string   `json:"dp,omitempty"`
	DQ     string   `json:"dq,omitempty"`
	QI     string   `json:"qi,omitempty"`
	K      string   `json:"k,omitempty"`
	KID    string   `json:"kid"`
	Alg    string   `json:"alg"`
	KeyOps []string `json:"key_ops"`
	Ext    bool     `json:"ext"`
}

var errPrivateJWK = errors.New("private JWK: not the private half of this record's key")

// encodePrivate returns the private JWK of key as JSON, which the caller wipes.
func encodePrivate(rec *record, key provider.ParsedMaterial) ([]byte, error) {
	k := privateJWK{KID: rec.jwkKID(), Alg: rec.Alg.JWA(), KeyOps: keyOps(rec.Alg, rec.Uses), Ext: rec.exportable()}
	if p := rec.Public; p != nil {
		k.Kty, k.Crv, k.X, k.Y, k.N, k.E = p.Kty, p.Crv, p.X, p.Y, p.N, p.E
	}
	switch private := key.Private.(type) {
	case nil:
		k.Kty, k.K = "oct", b64.EncodeToString(key.Symmetric.Expose())
	case *rsa.PrivateKey:
		if len(private.Primes) != 2 {
			return nil, provider.Unsupportedf("RSA key of %d primes: want 2", len(private.Primes))
		}
		private.Precompute()
		k.D, k.P, k.Q = encodeInt(private.D), encodeInt(private.Primes[0]), encodeInt(private.Primes[1])
		k.DP, k.DQ, k.QI = encodeInt(private.Precomputed.Dp), encodeInt(private.Precomputed.Dq), encodeInt(private.Precomputed.Qinv)
	case *ecdsa.PrivateKey:
		d, err := private.Bytes()
		if err != nil {
			return nil, fmt.Errorf("private JWK: %w", err)
		}
		defer clear(d)
		k.D = b64.EncodeToString(d)
	case ed25519.PrivateKey:
		k.D = b64.EncodeToString(private.Seed())
	case *ecdh.PrivateKey:
		k.D = b64.EncodeToString(private.Bytes())
	default:
		return nil, fmt.Errorf("private JWK of a %T", private)
	}
	return json.Marshal(k)
}

// decodePrivate returns the key in the private JWK of a record. Its errors tell nothing of the text.
func decodePrivate(v *version, text []byte) (provider.ParsedMaterial, error) {
	var k privateJWK
	if err := decodeStrict(text, &k); err != nil {
		return provider.ParsedMaterial{}, errPrivateJWK
	}
	rec := v.rec
	if k.KID != rec.jwkKID() || k.Alg != rec.Alg.JWA() || k.Ext != rec.exportable() || !slices.Equal(k.KeyOps, keyOps(rec.Alg, rec.Uses)) {
		return provider.ParsedMaterial{}, errPrivateJWK
	}
	if rec.Alg.Class() == provider.Symmetric {
		return k.symmetric(rec)
	}
	private, err := k.private()
	if err != nil {
		return provider.ParsedMaterial{}, errPrivateJWK
	}
	public := private.(interface{ Public() crypto.PublicKey }).Public()
	if !samePublic(public, v.public) {
		return provider.ParsedMaterial{}, errPrivateJWK
	}
	return provider.ParsedMaterial{Private: private, Public: v.public, Bits: rec.Bits}, nil
}

func (k privateJWK) symmetric(rec *record) (provider.ParsedMaterial, error) {
	secret, err := b64.DecodeString(k.K)
	defer clear(secret)
	if err != nil || k.Kty != "oct" || len(secret)*8 != rec.Bits {
		return provider.ParsedMaterial{}, errPrivateJWK
	}
	return provider.ParsedMaterial{Symmetric: provider.NewSecret(secret), Bits: rec.Bits}, nil
}

func (k privateJWK) private() (crypto.PrivateKey, error) {
	public := publicJWK{Kty: k.Kty, Crv: k.Crv, X: k.X, Y: k.Y, N: k.N, E: k.E}
	d, err := b64.DecodeString(k.D)
	defer clear(d)
	if err != nil {
		return nil, err
	}
	switch curve := public.curve(); {
	case curve != nil:
		return ecdsa.ParseRawPrivateKey(curve, d)
	case k.Crv == "Ed25519" && len(d) == ed25519.SeedSize:
		return ed25519.NewKeyFromSeed(d), nil
	case k.Crv == "X25519":
		return ecdh.X25519().NewPrivateKey(d)
	case k.Kty == "RSA":
		return k.rsa(public, d)
	}
	return nil, errPrivateJWK
}

// rsa leaves dp, dq and qi to be computed again: they follow from the rest.
func (k privateJWK) rsa(public publicJWK, d []byte) (*rsa.PrivateKey, error) {
	pub, err := public.key()
	if err != nil {
		return nil, err
	}
	p, errP := b64.DecodeString(k.P)
	q, errQ := b64.DecodeString(k.Q)
	defer clear(p)
	defer clear(q)
	if err := errors.Join(errP, errQ); err != nil {
		return nil, err
	}
	key := &rsa.PrivateKey{PublicKey: *pub.(*rsa.PublicKey), D: new(big.Int).SetBytes(d), Primes: []*big.Int{new(big.Int).SetBytes(p), new(big.Int).SetBytes(q)}}
	key.Precompute()
	return key, key.Validate()
}

// keyOps returns the key_ops (RFC 7517 section 4.3) of the private or secret half of a key with the given uses.
func keyOps(alg provider.KeyAlg, uses []provider.KeyUse) []string {
	ops := []string{}
	for _, use := range uses {
		public := use == provider.UseVerify || use == provider.UseEncrypt || use == provider.UseWrap
		switch {
		case public && alg.Class() == provider.Asymmetric:
		case use == provider.UseWrap:
			ops = append(ops, "wrapKey")
		case use == provider.UseUnwrap:
			ops = append(ops, "unwrapKey")
		case use == provider.UseDerive:
			ops = append(ops, "deriveKey", "deriveBits")
		default:
			ops = append(ops, string(use))
		}
	}
	return ops
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
