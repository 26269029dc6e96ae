package providertest_test

import (
	"bytes"
	"context"
	"crypto"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// sabotaged is a fake of which single methods are spoilt.
type sabotaged struct {
	*providertest.Fake
	create   func(context.Context, provider.KeySpec) (provider.KeyRef, error)
	importer func(context.Context, provider.KeySpec, provider.KeyMaterial) (provider.KeyRef, error)
	rotate   func(context.Context, string, provider.Rotation) (provider.KeyRef, error)
	destroy  func(context.Context, string, int) (provider.Destruction, error)
	get      func(context.Context, string, int) (provider.KeyRef, error)
	list     func(context.Context) (provider.KeyList, error)
	jwk      func(context.Context, string, int) (provider.JWK, error)
	jwks     func(context.Context, string) (provider.JWKSet, error)
	random   func(context.Context, int) ([]byte, error)
	signer   func(context.Context, string, int) (provider.Signer, error)
	mac      func(context.Context, string, int) (provider.MAC, error)
	aead     func(context.Context, string, int) (provider.AEAD, error)
	export   func(context.Context, string, int) (provider.Secret, error)
	put      func(context.Context, provider.KeyRef, provider.KeyMaterial) (provider.KeyRef, error)
	close    func() error
}

func newSabotaged(f *providertest.Fake) *sabotaged {
	return &sabotaged{
		f, f.CreateKey, f.ImportKey, f.RotateKey, f.DestroyKey, f.GetKey, f.ListKeys, f.PublicJWK, f.JWKS, f.RandomBytes,
		f.Signer, f.MAC, f.AEAD, f.ExportKey, f.PutVersion, f.Close,
	}
}

func (s *sabotaged) CreateKey(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
	return s.create(ctx, spec)
}
func (s *sabotaged) ImportKey(ctx context.Context, spec provider.KeySpec, m provider.KeyMaterial) (provider.KeyRef, error) {
	return s.importer(ctx, spec, m)
}
func (s *sabotaged) RotateKey(ctx context.Context, kid string, r provider.Rotation) (provider.KeyRef, error) {
	return s.rotate(ctx, kid, r)
}
func (s *sabotaged) DestroyKey(ctx context.Context, kid string, version int) (provider.Destruction, error) {
	return s.destroy(ctx, kid, version)
}
func (s *sabotaged) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	return s.get(ctx, kid, version)
}
func (s *sabotaged) ListKeys(ctx context.Context) (provider.KeyList, error) { return s.list(ctx) }
func (s *sabotaged) PublicJWK(ctx context.Context, kid string, version int) (provider.JWK, error) {
	return s.jwk(ctx, kid, version)
}
func (s *sabotaged) JWKS(ctx context.Context, prefix string) (provider.JWKSet, error) {
	return s.jwks(ctx, prefix)
}
func (s *sabotaged) RandomBytes(ctx context.Context, n int) ([]byte, error) { return s.random(ctx, n) }
func (s *sabotaged) Signer(ctx context.Context, kid string, version int) (provider.Signer, error) {
	return s.signer(ctx, kid, version)
}
func (s *sabotaged) MAC(ctx context.Context, kid string, version int) (provider.MAC, error) {
	return s.mac(ctx, kid, version)
}
func (s *sabotaged) AEAD(ctx context.Context, kid string, version int) (provider.AEAD, error) {
	return s.aead(ctx, kid, version)
}
func (s *sabotaged) ExportKey(ctx context.Context, kid string, version int) (provider.Secret, error) {
	return s.export(ctx, kid, version)
}
func (s *sabotaged) PutVersion(ctx context.Context, ref provider.KeyRef, m provider.KeyMaterial) (provider.KeyRef, error) {
	return s.put(ctx, ref, m)
}
func (s *sabotaged) Close() error { return s.close() }

type lazyAEAD struct {
	provider.AEAD
	known map[string][]byte
}

func (a *lazyAEAD) Encrypt(ctx context.Context, plaintext, additionalData []byte) ([]byte, error) {
	if sealed, ok := a.known[string(plaintext)]; ok {
		return sealed, nil
	}
	sealed, err := a.AEAD.Encrypt(ctx, plaintext, additionalData)
	a.known[string(plaintext)] = sealed
	return sealed, err
}

type lazyMAC struct{ provider.MAC }

func (m lazyMAC) Verify(ctx context.Context, message, code []byte) error {
	sum, err := m.Sum(ctx, message)
	if err != nil || len(code) >= 16 && bytes.HasPrefix(sum, code) {
		return err
	}
	return m.MAC.Verify(ctx, message, code)
}

type lazySigner struct{ provider.Signer }

func (s lazySigner) SignContext(ctx context.Context, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.Signer.SignContext(ctx, digest, crypto.Hash(0))
}
