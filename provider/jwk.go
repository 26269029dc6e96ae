package provider

import (
	"crypto"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/x25519"
)

// JWK is the public JWK (RFC 7517) of one version. It carries kid, kty and its parameters, use, alg and, but for
// X25519, key_ops, and never a private member. It can't be changed, so copies are cheap; Key returns the jwx type. The zero JWK is
// no key: its JSON is null, a set leaves it out, and nothing verifies with it.
type JWK struct {
	*publicJWK
	State      State // of the version, when the answer was made
	Provenance Provenance
}

type publicJWK struct {
	ref        KeyRef
	public     crypto.PublicKey
	thumbprint string
	json       []byte
}

// noJWK is what the zero JWK is.
var noJWK = &publicJWK{json: []byte("null")}

func (k JWK) facts() *publicJWK {
	if k.publicJWK == nil {
		return noJWK
	}
	return k.publicJWK
}

// NewJWK returns the JWK of the version that ref describes, with public as its public half. [ErrUnsupported] for a
// symmetric algorithm; [ErrInvalid] if public is no key for ref.Alg.
func NewJWK(ref KeyRef, public crypto.PublicKey) (JWK, error) {
	if ref.Alg.Class() == Symmetric {
		return JWK{}, Unsupportedf("public JWK of %q: a %s key is symmetric and has no public half", ref.JWKKID(), ref.Alg)
	}
	if _, err := CheckPublic(ref.Alg, public); err != nil {
		return JWK{}, err
	}
	key, err := jwkFromPublic(public)
	if err != nil {
		return JWK{}, err
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return JWK{}, fmt.Errorf("thumbprint: %w", err)
	}
	members := map[string]any{
		jwk.KeyIDKey:     ref.JWKKID(),
		jwk.AlgorithmKey: ref.Alg.JWA(),
		jwk.KeyUsageKey:  algByName[ref.Alg].jwkUse,
	}
	if ops := publicKeyOps(ref.Uses); len(ops) > 0 {
		members[jwk.KeyOpsKey] = ops
	}
	for name, value := range members {
		if err := key.Set(name, value); err != nil {
			return JWK{}, fmt.Errorf("JWK member %s: %w", name, err)
		}
	}
	text, err := json.Marshal(key)
	if err != nil {
		return JWK{}, fmt.Errorf("JWK: %w", err)
	}
	ref = ref.Clone()
	return JWK{publicJWK: &publicJWK{ref, public, base64.RawURLEncoding.EncodeToString(thumbprint), text}, State: ref.State, Provenance: ref.Provenance}, nil
}

// Thumbprint returns the RFC 7638 thumbprint of a public key: SHA-256, base64url without padding.
func Thumbprint(public crypto.PublicKey) (string, error) {
	key, err := jwkFromPublic(public)
	if err != nil {
		return "", err
	}
	t, err := key.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(t), err
}

// JWKKID returns the JWK's kid member, "<kid>.<version>".
func (k JWK) JWKKID() string { return k.facts().ref.JWKKID() }

// Ref describes the version as it was when the answer was made.
func (k JWK) Ref() KeyRef {
	ref := k.facts().ref.Clone()
	ref.State, ref.Provenance = k.State, k.Provenance
	return ref
}

// Alg returns the version's algorithm.
func (k JWK) Alg() KeyAlg { return k.facts().ref.Alg }

// PublicKey returns the public half: *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or *ecdh.PublicKey. It is shared:
// do not change it.
func (k JWK) PublicKey() crypto.PublicKey { return k.facts().public }

// Thumbprint returns the RFC 7638 thumbprint (SHA-256, base64url without padding).
func (k JWK) Thumbprint() string { return k.facts().thumbprint }

// JSON returns the JWK as JSON. The caller owns the slice.
func (k JWK) JSON() []byte { return slices.Clone(k.facts().json) }

// MarshalJSON returns the same as JSON.
func (k JWK) MarshalJSON() ([]byte, error) { return k.JSON(), nil }

// Key returns the JWK as a jwx key. The caller owns it.
func (k JWK) Key() (jwk.Key, error) {
	if k.publicJWK == nil {
		return nil, Invalidf("no JWK: want one that a store answered")
	}
	return jwk.ParseKey(k.json)
}

// publicKeyOps returns the key_ops (RFC 7517 section 4.3) of the public half of a key with the given uses. There are none for
// a key that derives: deriving is done with the private half (W3C Web Cryptography API, ECDH and X25519), and libraries of
// JavaScript and Python refuse to encrypt to a public key that names it.
func publicKeyOps(uses []KeyUse) jwk.KeyOperationList {
	var ops jwk.KeyOperationList
	add := func(when []KeyUse, op ...jwk.KeyOperation) {
		if slices.ContainsFunc(uses, func(u KeyUse) bool { return slices.Contains(when, u) }) {
			ops = append(ops, op...)
		}
	}
	add([]KeyUse{UseSign, UseVerify}, jwk.KeyOpVerify)
	add([]KeyUse{UseEncrypt, UseDecrypt}, jwk.KeyOpEncrypt)
	add([]KeyUse{UseWrap, UseUnwrap}, jwk.KeyOpWrapKey)
	return ops
}

func jwkFromPublic(public crypto.PublicKey) (jwk.Key, error) {
	raw := public
	if k, ok := public.(*ecdh.PublicKey); ok && k != nil && k.Curve() == ecdh.X25519() {
		raw = x25519.PublicKey(k.Bytes())
	}
	if isNil(raw) {
		return nil, notAKey("public", public)
	}
	key, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, notAKey("public", public)
	}
	return key, nil
}
