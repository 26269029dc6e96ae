package providertest

import (
	"context"
	"crypto/ecdh"
	"testing"

	"github.com/hsmmirror/hsmmirror/provider"
)

// someCall is one method of the store, or of an object that it handed out, called in a way that would succeed.
type someCall struct {
	name string
	do   func(ctx context.Context) error
}

// everyCall returns a call of every method that takes a context. kid has one version of an algorithm that signs; free
// is a kid that is not taken, the only one under which a call makes something.
func (s *suite) everyCall(t *testing.T, ref provider.KeyRef, free string) []someCall {
	t.Helper()
	p, kid := s.p, ref.KID
	material := newOutsider(t, ref.Alg).publicMaterial(t)
	calls := []someCall{
		{"Capabilities", func(ctx context.Context) error { _, err := p.Capabilities(ctx); return err }},
		{"CreateKey", func(ctx context.Context) error {
			_, err := p.CreateKey(ctx, provider.KeySpec{KID: free, Alg: ref.Alg})
			return err
		}},
		{"ImportKey", func(ctx context.Context) error {
			_, err := p.ImportKey(ctx, provider.KeySpec{KID: free, Alg: ref.Alg}, material)
			return err
		}},
		{"RotateKey", func(ctx context.Context) error { _, err := p.RotateKey(ctx, kid, provider.Rotation{}); return err }},
		{"DestroyKey", func(ctx context.Context) error { _, err := p.DestroyKey(ctx, kid, 1); return err }},
		{"GetKey", func(ctx context.Context) error { _, err := p.GetKey(ctx, kid, 0); return err }},
		{"ListKeys", func(ctx context.Context) error { _, err := p.ListKeys(ctx); return err }},
		{"ListVersions", func(ctx context.Context) error { _, err := p.ListVersions(ctx, kid); return err }},
		{"PublicJWK", func(ctx context.Context) error { _, err := p.PublicJWK(ctx, kid, 1); return err }},
		{"JWKS", func(ctx context.Context) error { _, err := p.JWKS(ctx, ""); return err }},
		{"RandomBytes", func(ctx context.Context) error { _, err := p.RandomBytes(ctx, 1); return err }},
		{"HKDF", func(ctx context.Context) error { _, err := p.HKDF(ctx, nil, nil, nil, 1); return err }},
	}
	return append(calls, s.optionalCalls(t, ref, free)...)
}

// optionalCalls is everyCall for the optional interfaces that the store satisfies.
func (s *suite) optionalCalls(t *testing.T, ref provider.KeyRef, free string) (calls []someCall) {
	t.Helper()
	add := func(name string, do func(ctx context.Context) error) { calls = append(calls, someCall{name, do}) }
	kid := ref.KID
	if p, ok := s.p.(provider.Signing); ok {
		add("Signer", func(ctx context.Context) error { _, err := p.Signer(ctx, kid, 1); return err })
	}
	if p, ok := s.p.(provider.Decrypting); ok {
		add("Decrypter", func(ctx context.Context) error { _, err := p.Decrypter(ctx, kid, 1); return err })
	}
	if p, ok := s.p.(provider.Encrypting); ok {
		add("AEAD", func(ctx context.Context) error { _, err := p.AEAD(ctx, kid, 1); return err })
	}
	if p, ok := s.p.(provider.Authenticating); ok {
		add("MAC", func(ctx context.Context) error { _, err := p.MAC(ctx, kid, 1); return err })
	}
	if p, ok := s.p.(provider.KeyAgreement); ok {
		peer := newOutsider(t, provider.X25519).public.(*ecdh.PublicKey)
		add("ECDH", func(ctx context.Context) error { _, err := p.ECDH(ctx, kid, 1, peer); return err })
	}
	if p, ok := s.p.(provider.Exporting); ok {
		add("ExportKey", func(ctx context.Context) error { _, err := p.ExportKey(ctx, kid, 1); return err })
	}
	if p, ok := s.p.(provider.Labelling); ok {
		add("Relabel", func(ctx context.Context) error { _, err := p.Relabel(ctx, kid, 1, "label of "+kid); return err })
	}
	if p, ok := s.p.(provider.Checking); ok {
		add("Health", p.Health)
	}
	if p, ok := s.p.(provider.Resolving); ok && s.uri != nil {
		add("KeyByURI", func(ctx context.Context) error { _, err := p.KeyByURI(ctx, s.uri(ref)); return err })
	}
	if p, ok := s.p.(provider.Replica); ok {
		o := newOutsider(t, ref.Alg)
		copied, material := s.copied(t, o, 1), o.publicMaterial(t)
		copied.KID = free
		add("PutVersion", func(ctx context.Context) error { _, err := p.PutVersion(ctx, copied, material); return err })
	}
	return calls
}
