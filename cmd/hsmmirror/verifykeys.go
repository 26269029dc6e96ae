package main

import (
	"context"
	"crypto"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/hsmmirror/hsmmirror/provider"
)

// verifyingKey is a key that may have made a signature.
type verifyingKey struct {
	jwkKID string
	ref    provider.KeyRef
	verify func(ctx context.Context, message, signature []byte) error // takes the form of provider.Signer
}

// check returns nil if the key made the signature, provider.ErrInvalid if not, and another error if there is no telling.
func (k verifyingKey) check(ctx context.Context, s statement) error {
	signature := s.signature
	if s.raw {
		var err error
		if signature, err = fromRaw(k.ref.Alg, signature); err != nil {
			return err
		}
	}
	return k.verify(ctx, s.message, signature)
}

func publicVerifyingKey(jwkKID string, k provider.JWK) verifyingKey {
	return verifyingKey{jwkKID, k.Ref(), func(_ context.Context, message, signature []byte) error {
		return k.Verify(message, signature)
	}}
}

// keysInStore returns the keys that name stands for: one version, or all published versions of a key, or of all keys if name is
// empty.
func keysInStore(ctx context.Context, p provider.Provider, name string) ([]verifyingKey, error) {
	if name == "" {
		return publishedKeys(ctx, p, "", func(provider.KeyRef) bool { return true })
	}
	key, err := find(ctx, p, name)
	switch {
	case err != nil:
		return nil, err
	case key.ref.Alg.Class() == provider.Symmetric:
		return macKey(ctx, p, key.ref)
	case key.version == 0:
		return publishedKeys(ctx, p, key.kid, func(ref provider.KeyRef) bool { return ref.KID == key.kid })
	}
	k, err := p.PublicJWK(ctx, key.kid, key.version)
	if err != nil {
		return nil, err
	}
	return []verifyingKey{publicVerifyingKey(k.JWKKID(), k)}, nil
}

// publishedKeys returns the keys of the JWK Set that keep wants, and that sign.
func publishedKeys(ctx context.Context, p provider.Provider, prefix string, keep func(provider.KeyRef) bool) ([]verifyingKey, error) {
	set, err := p.JWKS(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var keys []verifyingKey
	for _, k := range set.Keys() {
		if k.Alg().Signs() && keep(k.Ref()) {
			keys = append(keys, publicVerifyingKey(k.JWKKID(), k))
		}
	}
	return keys, nil
}

func macKey(ctx context.Context, p provider.Provider, ref provider.KeyRef) ([]verifyingKey, error) {
	mac, err := macOf(ctx, p, ref)
	if err != nil {
		return nil, err
	}
	return []verifyingKey{{ref.JWKKID(), ref, mac.Verify}}, nil
}

// keysInFile returns the keys of a JWK Set that name stands for, as keysInStore does. Keys that make no signatures are passed
// over. The set may come from elsewhere: its kids need no version.
func (a *app) keysInFile(ctx context.Context, path, name string) ([]verifyingKey, error) {
	b, err := a.readInput(ctx, path, maxInput)
	if err != nil {
		return nil, err
	}
	set, err := jwk.Parse(b)
	if err != nil {
		return nil, provider.Invalidf("%s: want a JWK Set as JSON", path)
	}
	var keys []verifyingKey
	for i := range set.Len() {
		key, _ := set.Key(i)
		kid := key.KeyID()
		if base, _, _ := provider.SplitJWKKID(kid); name != "" && name != kid && name != base {
			continue
		}
		if k, ok := fileKey(kid, key); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 && name != "" {
		return nil, fmt.Errorf("%s holds no key %q that verifies signatures", path, name)
	}
	return keys, nil
}

// fileKey makes a verifyingKey of a JWK that stands in a file. It reports false for a key that verifies nothing.
func fileKey(kid string, key jwk.Key) (verifyingKey, bool) {
	public, ok := publicHalf(key)
	if !ok {
		return verifyingKey{}, false
	}
	for _, alg := range provider.Algs() {
		if !alg.Signs() || key.Algorithm().String() != alg.JWA() {
			continue
		}
		k, err := provider.NewJWK(provider.KeyRef{KID: "file", Version: 1, Alg: alg, Uses: alg.Uses()}, public)
		if err != nil {
			continue
		}
		v := publicVerifyingKey(kid, k)
		v.ref.KID, v.ref.Version = kid, 0
		if base, version, ok := provider.SplitJWKKID(kid); ok {
			v.ref.KID, v.ref.Version = base, version
		}
		return v, true
	}
	return verifyingKey{}, false
}

func publicHalf(key jwk.Key) (crypto.PublicKey, bool) {
	if key.KeyType() == jwa.OctetSeq {
		return nil, false
	}
	half, err := key.PublicKey()
	if err != nil {
		return nil, false
	}
	var public crypto.PublicKey
	return public, half.Raw(&public) == nil
}
