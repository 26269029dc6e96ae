package hsm

import (
	"context"
	"crypto/rsa"
	"errors"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ImportKey stores a given key on the token by C_CreateObject. ErrUnsupported if the token takes no such key.
func (t *Token) ImportKey(ctx context.Context, spec provider.KeySpec, material provider.KeyMaterial) (provider.KeyRef, error) {
	if err := t.begin(ctx); err != nil {
		return provider.KeyRef{}, err
	}
	bits := spec.Bits
	spec, err := spec.Normalize()
	if err != nil {
		return provider.KeyRef{}, err
	}
	parsed, err := material.Parse(spec.Alg, bits)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer parsed.Symmetric.Wipe()
	spec.Bits = parsed.Bits
	if err := t.canUse(ctx, spec.Alg); err != nil {
		return provider.KeyRef{}, err
	}
	more := record{Imported: true, PublicOnly: parsed.Private == nil && parsed.Symmetric.Empty()}
	return t.first(ctx, spec, more, func(ctx context.Context, r record) error { return t.store(ctx, r, parsed) })
}

// store puts the objects of an imported key on the token, the private half first.
func (t *Token) store(ctx context.Context, r record, m provider.ParsedMaterial) error {
	q, err := t.quirks(ctx)
	if err != nil {
		return err
	}
	for _, template := range []func() ([]attribute, error){
		func() ([]attribute, error) { return importPrivate(r, q, m) },
		func() ([]attribute, error) { return importPublic(r, q, m) },
	} {
		attributes, err := template()
		if err == nil && attributes != nil {
			err = t.link.create(ctx, attributes)
		}
		if err != nil {
			return importError(r, err)
		}
	}
	return nil
}

// importError says what it means that the token refuses an object whose values were checked.
func importError(r record, err error) error {
	if errors.Is(err, provider.ErrInvalid) {
		return provider.Unsupportedf("import %q: the token takes no such %s key: %v", r.jwkKID(), r.Alg, err)
	}
	return err
}

// importPrivate describes the private or secret key object; nil if there is none.
func importPrivate(r record, q quirks, m provider.ParsedMaterial) ([]attribute, error) {
	if !m.Symmetric.Empty() {
		return append(r.privateTemplate(), attribute{ckaClass, uint(ckoSecretKey)}, attribute{ckaKeyType, q.keyTypeOf(r.Alg)},
			attribute{ckaValue, slices.Clone(m.Symmetric.Expose())}), nil
	}
	if m.Private == nil {
		return nil, nil
	}
	template := append(r.privateTemplate(), attribute{ckaClass, uint(ckoPrivateKey)}, attribute{ckaKeyType, q.keyTypeOf(r.Alg)})
	if r.Alg.KeyType() != "RSA" { // the public half first: nothing fails after the secret was copied
		params, _, err := encodeECPublic(m.Public)
		if err != nil {
			return nil, err
		}
		template = append(template, attribute{ckaECParams, params})
	}
	private, err := privateAttributes(m.Private)
	return append(template, private...), err
}

// importPublic describes the public key object; nil if there is none.
func importPublic(r record, q quirks, m provider.ParsedMaterial) ([]attribute, error) {
	if m.Public == nil {
		return nil, nil
	}
	template := append(r.publicTemplate(), attribute{ckaClass, uint(ckoPublicKey)}, attribute{ckaKeyType, q.keyTypeOf(r.Alg)})
	if pub, ok := m.Public.(*rsa.PublicKey); ok {
		modulus, exponent := encodeRSAPublic(pub)
		return append(template, attribute{ckaModulus, modulus}, attribute{ckaPublicExponent, exponent}), nil
	}
	params, point, err := encodeECPublic(m.Public)
	return append(template, attribute{ckaECParams, params}, attribute{ckaECPoint, point}), err
}
