package hsm

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ImportKey stores a given key on the token by C_CreateObject, or by C_UnwrapKey where the token refuses a private or secret key in
// plain text. ErrUnsupported if it takes none in either way.
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
	if err := t.canImport(ctx, spec.Alg); err != nil {
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
	if err := t.storePrivate(ctx, r, q, m); err != nil {
		return err
	}
	return importError(r, t.storePublic(ctx, r, q, m))
}

// storePublic stores the public key, if there is one. PKCS#11 v3.0 wraps the points of the 25519 curves and v3.1 does not, and a
// module may take those of one of them alone, whatever version it names: one that refuses a wrapped point is given a bare one.
func (t *Token) storePublic(ctx context.Context, r record, q quirks, m provider.ParsedMaterial) error {
	public, err := importPublic(r, q, m)
	if err != nil || public == nil {
		return err
	}
	err = t.link.create(ctx, public)
	if !refused(err) || r.Alg.KeyType() != "OKP" || q.barePoints {
		return err
	}
	if public, err = importPublic(r, q.and(quirks{barePoints: true}), m); err != nil {
		return err
	}
	return t.link.create(ctx, public)
}

// storePrivate stores the private or secret key, if there is one: by C_CreateObject, or, where the token refuses that, wrapped.
func (t *Token) storePrivate(ctx context.Context, r record, q quirks, m provider.ParsedMaterial) error {
	template, err := importPrivate(r, q, m)
	if err != nil || template == nil {
		return err
	}
	plain := t.link.create(ctx, template)
	if !refused(plain) {
		return plain
	}
	wrapped := t.storeWrapped(ctx, r, q, m)
	if !refused(wrapped) {
		return wrapped
	}
	return provider.Unsupportedf("import %q: the token takes no such %s key, neither in plain text (%v) nor wrapped (%v)", r.jwkKID(), r.Alg, plain, wrapped)
}

// storeWrapped stores the private or secret key by C_UnwrapKey.
func (t *Token) storeWrapped(ctx context.Context, r record, q quirks, m provider.ParsedMaterial) error {
	plain, err := encodePrivate(m)
	if err != nil {
		return err
	}
	defer clear(plain)
	return t.byWrapping(ctx, ckfUnwrap, r.Alg, r.Bits, func(k keyWrap, w wrapping) error {
		wrapped, err := k.wrap(w.kek, plain)
		if err != nil {
			return err
		}
		return t.link.unwrap(ctx, w, wrapped, privateHeader(r, q, m))
	})
}

// encodePrivate returns a private key as PKCS #8, a symmetric one as its bytes.
func encodePrivate(m provider.ParsedMaterial) ([]byte, error) {
	if m.Private == nil {
		return slices.Clone(m.Symmetric.Expose()), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(m.Private)
	if err != nil {
		return nil, provider.Unsupportedf("PKCS #8 of a %T", m.Private)
	}
	return der, nil
}

// importError says what it means that the token refuses an object whose values were checked.
func importError(r record, err error) error {
	if errors.Is(err, provider.ErrInvalid) {
		return provider.Unsupportedf("import %q: the token takes no such %s key: %v", r.jwkKID(), r.Alg, err)
	}
	return err
}

// privateHeader describes the private or secret key object but for the key itself.
func privateHeader(r record, q quirks, m provider.ParsedMaterial) []attribute {
	class := uint(ckoPrivateKey)
	if m.Private == nil {
		class = ckoSecretKey
	}
	return append(r.privateTemplate(q), attribute{ckaClass, class}, attribute{ckaKeyType, q.keyTypeOf(r.Alg)})
}

// importPrivate describes the private or secret key object; nil if there is none.
func importPrivate(r record, q quirks, m provider.ParsedMaterial) ([]attribute, error) {
	template := privateHeader(r, q, m)
	if !m.Symmetric.Empty() {
		return append(template, attribute{ckaValue, slices.Clone(m.Symmetric.Expose())}), nil
	}
	if m.Private == nil {
		return nil, nil
	}
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
	template := append(r.publicTemplate(q), attribute{ckaClass, uint(ckoPublicKey)}, attribute{ckaKeyType, q.keyTypeOf(r.Alg)})
	if pub, ok := m.Public.(*rsa.PublicKey); ok {
		modulus, exponent := encodeRSAPublic(pub)
		return append(template, attribute{ckaModulus, modulus}, attribute{ckaPublicExponent, exponent}), nil
	}
	params, point, err := encodeECPublic(m.Public)
	if r.Alg.KeyType() == "OKP" && q.barePoints && err == nil {
		_, point, err = pointOf(m.Public)
	}
	return append(template, attribute{ckaECParams, params}, attribute{ckaECPoint, point}), err
}
