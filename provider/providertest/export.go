package providertest

import (
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testExport(t *testing.T) {
	p := optional[provider.Exporting](t, s.p, "Exporting")
	for _, alg := range s.algs(creates) {
		t.Run(string(alg)+" stays under none", func(t *testing.T) { s.staysIn(t, s.key(t, alg)) })
	}
	t.Run("a key stays under public_only", func(t *testing.T) {
		s.staysIn(t, s.create(t, provider.KeySpec{Alg: s.quick(t), Export: provider.ExportPublicOnly}))
	})
	t.Run("an imported key stays under public_only", func(t *testing.T) {
		o := s.someImport(t)
		s.staysIn(t, s.importing(t, provider.KeySpec{Alg: o.alg, Export: provider.ExportPublicOnly}, o.material(t)))
	})
	t.Run("a key without its private half has nothing to export", func(t *testing.T) {
		o := newOutsider(t, s.quick(t))
		ref := s.importing(t, provider.KeySpec{Alg: o.alg, Export: provider.ExportSecretWhenAllowed}, o.publicMaterial(t))
		_, err := p.ExportKey(t.Context(), ref.KID, 1)
		require.ErrorIs(t, err, provider.ErrNotExportable)
	})
	t.Run("a missing version is ErrNotFound", func(t *testing.T) {
		_, err := p.ExportKey(t.Context(), s.kid(t), 0)
		require.ErrorIs(t, err, provider.ErrNotFound)
		ref := s.create(t, provider.KeySpec{Alg: s.quick(t), Export: provider.ExportSecretWhenAllowed})
		_, err = p.ExportKey(t.Context(), ref.KID, 2)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.ExportKey(t.Context(), ref.KID, -1)
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
	if !s.caps.Has(provider.FeatureExport) {
		return
	}
	for _, alg := range s.algs(creates) {
		t.Run(string(alg)+" leaves under secret_when_allowed", func(t *testing.T) { s.testExported(t, alg) })
	}
	for _, alg := range s.algs(imports) {
		t.Run(string(alg)+" leaves as it came", func(t *testing.T) { s.testExportedImport(t, alg) })
	}
	t.Run("version 0 is the highest", func(t *testing.T) {
		ref := s.create(t, provider.KeySpec{Alg: s.quick(t), Export: provider.ExportSecretWhenAllowed})
		second := s.rotate(t, ref.KID, provider.Rotation{})
		secret, err := p.ExportKey(t.Context(), ref.KID, 0)
		require.NoError(t, err)
		s.holds(t, second, exported(t, second.Alg, secret))
	})
}

func (s *suite) staysIn(t *testing.T, ref provider.KeyRef) {
	t.Helper()
	secret, err := s.p.(provider.Exporting).ExportKey(t.Context(), ref.KID, ref.Version)
	require.ErrorIs(t, err, provider.ErrNotExportable)
	require.True(t, secret.Empty())
}

func (s *suite) testExported(t *testing.T, alg provider.KeyAlg) {
	ref := s.create(t, provider.KeySpec{Alg: alg, Export: provider.ExportSecretWhenAllowed})
	secret, err := s.p.(provider.Exporting).ExportKey(t.Context(), ref.KID, 1)
	require.NoError(t, err)
	o := exported(t, alg, secret)
	s.holds(t, ref, o)
	secret.Wipe() // the caller's copy is the caller's
	s.holds(t, ref, o)
	if s.caps.Alg(alg).Import {
		again := s.importing(t, provider.KeySpec{Alg: alg}, o.material(t))
		require.Equal(t, ref.Fingerprint, again.Fingerprint)
	}
}

func (s *suite) testExportedImport(t *testing.T, alg provider.KeyAlg) {
	o := newOutsider(t, alg)
	ref := s.importing(t, provider.KeySpec{Alg: alg, Export: provider.ExportSecretWhenAllowed}, o.material(t))
	secret, err := s.p.(provider.Exporting).ExportKey(t.Context(), ref.KID, 1)
	require.NoError(t, err)
	got := exported(t, alg, secret)
	if o.private == nil {
		require.Equal(t, o.symmetric, got.symmetric)
	} else {
		require.True(t, samePublic(o.public, got.public))
	}
	s.holds(t, ref, got)
}

// exported reads what ExportKey gave: PKCS #8, or the bytes of a symmetric key.
func exported(t *testing.T, alg provider.KeyAlg, secret provider.Secret) outsider {
	t.Helper()
	parsed, err := provider.KeyMaterial{Private: secret}.Parse(alg, 0)
	require.NoError(t, err)
	o := outsider{alg: alg, private: parsed.Private, public: parsed.Public, bits: parsed.Bits}
	if alg.Class() == provider.Symmetric {
		o.symmetric = append(o.symmetric, secret.Expose()...)
		return o
	}
	_, err = x509.ParsePKCS8PrivateKey(secret.Expose())
	require.NoError(t, err)
	return o
}
