package mirror

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/hsmmirror/hsmmirror/provider"
)

// header is the JOSE header of what a manifest key signs (RFC 7515 section 4).
type header struct {
	Type string          `json:"typ"`
	Alg  string          `json:"alg"`
	KID  string          `json:"kid"`
	JWK  json.RawMessage `json:"jwk"`
	Crit []string        `json:"crit,omitempty"`
}

// sealJWS appends to text, which is empty, payload signed with s as a compact JWS that carries the key. hash is hashOf of it.
//
// A manifest has megabytes where there are thousands of keys, so that each byte is encoded once and hashed once, here and
// not by a library that knows less of the matter.
func sealJWS(ctx context.Context, s provider.Signer, typ string, payload, text []byte) (sealed []byte, hash string, err error) {
	ref := s.KeyRef()
	k, err := provider.NewJWK(ref, s.Public())
	if err != nil {
		return nil, "", err
	}
	head, err := json.Marshal(header{Type: typ, Alg: ref.Alg.JWA(), KID: ref.JWKKID(), JWK: k.JSON()})
	if err != nil {
		return nil, "", fmt.Errorf("JWS header: %w", err)
	}
	text = base64.RawURLEncoding.AppendEncode(text, head)
	text = base64.RawURLEncoding.AppendEncode(append(text, '.'), payload)
	sum := sha256.New()
	sum.Write(text)
	digest := sum.Sum(nil)
	if ref.Alg.Hash() != crypto.SHA256 {
		digest = ref.Alg.Digest(text)
	}
	signature, err := s.SignContext(ctx, digest, ref.Alg.SignerOpts())
	if err != nil {
		return nil, "", err
	}
	if signature, err = rawSignature(ref, signature); err != nil {
		return nil, "", err
	}
	end := len(text)
	text = base64.RawURLEncoding.AppendEncode(append(text, '.'), signature)
	sum.Write(text[end:])
	return text, base64.RawURLEncoding.EncodeToString(sum.Sum(nil)), nil
}

// rawSignature returns a signature of a provider.Signer as JWA has it: of ECDSA r and s at full length (RFC 7518 section 3.4).
func rawSignature(ref provider.KeyRef, signature []byte) ([]byte, error) {
	if ref.Alg.KeyType() != "EC" {
		return signature, nil
	}
	var der struct{ R, S *big.Int }
	_, bits, _ := ref.Alg.Bits()
	size := (bits + 7) / 8
	rest, err := asn1.Unmarshal(signature, &der)
	if err != nil || len(rest) > 0 || der.R.Sign() < 1 || der.S.Sign() < 1 || max(der.R.BitLen(), der.S.BitLen()) > 8*size {
		return nil, fmt.Errorf("%w: the primary's signature by %q is none of %s", provider.ErrTampered, ref.JWKKID(), ref.Alg)
	}
	raw := make([]byte, 2*size)
	der.R.FillBytes(raw[:size])
	der.S.FillBytes(raw[size:])
	return raw, nil
}

// openJWS checks a compact JWS of the given type under the key that it carries, and returns key, version and payload.
// Whether the key is to be trusted is not its business. [provider.ErrTampered].
func openJWS(data []byte, typ string) (key provider.JWK, version int, payload []byte, err error) {
	fail := func(what string) (provider.JWK, int, []byte, error) {
		return provider.JWK{}, 0, nil, fmt.Errorf("%w: %s", provider.ErrTampered, what)
	}
	head, _, ok := bytes.Cut(data, []byte("."))
	var h header
	text, err := base64.RawURLEncoding.DecodeString(string(head))
	if !ok || err != nil || json.Unmarshal(text, &h) != nil || h.Type != typ || h.Crit != nil {
		return fail("no JWT of the type " + typ)
	}
	kid, version, ok := provider.SplitJWKKID(h.KID)
	if !ok || kid != ManifestKID {
		return fail("not signed by a key of the kid " + ManifestKID)
	}
	key, err = manifestKey(h.JWK, h.Alg, version)
	if err != nil {
		return fail("its header has no key that signs by its algorithm")
	}
	payload, err = jws.Verify(data, jws.WithKey(jwa.SignatureAlgorithm(h.Alg), key.PublicKey()))
	if err != nil {
		return fail("the signature is not one of the key in the header")
	}
	return key, version, payload, nil
}

// manifestKey returns the key in a header, checked as every key of package provider.
func manifestKey(text []byte, alg string, version int) (provider.JWK, error) {
	k, err := jwk.ParseKey(text)
	if err != nil {
		return provider.JWK{}, err
	}
	var public any
	if err := k.Raw(&public); err != nil {
		return provider.JWK{}, err
	}
	for _, a := range provider.Algs() {
		if a.Signs() && a.JWA() == alg {
			return provider.NewJWK(provider.KeyRef{KID: ManifestKID, Version: version, Alg: a, Uses: a.Uses()}, public)
		}
	}
	return provider.JWK{}, provider.Unsupportedf("signature algorithm %.20q", alg)
}
