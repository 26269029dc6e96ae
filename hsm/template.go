package hsm

import (
	"context"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// useAttribute is the attribute that a use stands for, on the private or secret key and on the public key.
type useAttribute struct {
	use     provider.KeyUse
	typ     uint
	public  bool            // the use is of the public half, if there is one
	inverse provider.KeyUse // of the private half; NSS makes no pair whose public half may not undo what the private half does
}

var useAttributes = []useAttribute{
	{provider.UseSign, ckaSign, false, ""},
	{provider.UseVerify, ckaVerify, true, provider.UseSign},
	{provider.UseEncrypt, ckaEncrypt, true, provider.UseDecrypt},
	{provider.UseDecrypt, ckaDecrypt, false, ""},
	{provider.UseWrap, ckaWrap, true, provider.UseUnwrap},
	{provider.UseUnwrap, ckaUnwrap, false, ""},
	{provider.UseDerive, ckaDerive, false, ""},
}

// generate makes the key that a record claims.
func (t *Token) generate(ctx context.Context, r record) error {
	q, err := t.quirks(ctx)
	if err != nil {
		return err
	}
	return t.link.generate(ctx, r.generation(q))
}

// generation says how to make the key on a module with the given quirks.
func (r record) generation(q quirks) generation {
	g := generation{bits: r.Bits, private: r.privateTemplate(q)}
	if r.Alg.Class() == provider.Asymmetric {
		g.public = r.publicTemplate(q)
	}
	switch {
	case r.Alg.KeyType() == "RSA":
		g.alg = generateRSA
	case r.Alg == provider.AES256GCM:
		g.alg = generateAES
	case r.Alg == provider.HMACSHA256:
		g.alg = generateSecret
	case r.Alg.KeyType() == "EC":
		g.alg = generateEC
	case q.keyTypeOf(r.Alg) == ckkECMontgomery:
		g.alg = generateMontgomery
	default:
		g.alg = generateEdwards
	}
	if c := curveFor(r.Alg); c != nil {
		g.public = append(g.public, attribute{ckaKeyType, q.keyTypeOf(r.Alg)}, attribute{ckaECParams, c.oid})
		g.private = append(g.private, attribute{ckaKeyType, q.keyTypeOf(r.Alg)})
	}
	return g
}

// privateTemplate describes the private or secret key of a version.
func (r record) privateTemplate(q quirks) []attribute {
	return append(append(r.commonTemplate(), r.useTemplate(q, false)...),
		attribute{ckaPrivate, true}, attribute{ckaSensitive, !q.readable(r)}, attribute{ckaExtractable, r.Export == provider.ExportSecretWhenAllowed && !q.keepsKeys})
}

// publicTemplate describes the public key of a version.
func (r record) publicTemplate(q quirks) []attribute {
	return append(append(r.commonTemplate(), r.useTemplate(q, true)...), attribute{ckaPrivate, false})
}

// commonTemplate are the attributes of every key object.
func (r record) commonTemplate() []attribute {
	return []attribute{{ckaToken, true}, {ckaLabel, objectLabel(r.KID, r.Version)}, {ckaID, r.idBytes()}}
}

// useTemplate are all the attributes that say what a key object may be used for. What is left out is up to the token, and SoftHSM2 then
// lets a signing key decrypt; only CKA_DERIVE is false by itself (PKCS#11 v3.0 section 4.7).
func (r record) useTemplate(q quirks, public bool) (template []attribute) {
	pair := r.Alg.Class() == provider.Asymmetric
	if pair && q.fewUses {
		if !public {
			template = []attribute{{ckaSign, r.Alg.Signs()}, {ckaDecrypt, !r.Alg.Signs() || r.Alg == provider.RSAPKCS1SHA256}}
		}
		return template
	}
	for _, u := range useAttributes {
		allowed := slices.Contains(r.Uses, u.use) || public && slices.Contains(r.Uses, u.inverse)
		if (!pair || u.public == public) && (u.typ != ckaDerive || allowed) {
			template = append(template, attribute{u.typ, allowed})
		}
	}
	return template
}
