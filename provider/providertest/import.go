package providertest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testImport(t *testing.T) {
	for _, alg := range s.algs(imports) {
		t.Run(string(alg)+" keeps the key that was made elsewhere", func(t *testing.T) { s.testImported(t, alg) })
	}
	for _, alg := range s.algs(imports, isPublic) {
		t.Run(string(alg)+" is read as", func(t *testing.T) { s.testImportForms(t, alg) })
	}
	for _, alg := range s.algs(isPublic) {
		t.Run(string(alg)+" without its private half", func(t *testing.T) { s.testImportPublic(t, alg) })
	}
	t.Run("a public half in PEM", s.testImportPublicPEM)
	t.Run("an HMAC key may have 32 to 512 bytes", s.testImportHMACSizes)
	t.Run("a size in the spec must be that of the key", s.testImportSize)
	t.Run("the spec is kept", s.testImportSpec)
	t.Run("a taken kid is ErrExists and stays as it was", s.testImportTaken)
	t.Run("the caller keeps and wipes the material", s.testImportWipe)
	t.Run("the same material twice is two keys", s.testImportTwice)
	t.Run("what it can't import it refuses", s.testCannotImport)
}

// importing imports a key that lasts as long as t. It skips the rest of t if the store imports no key of this kind.
func (s *suite) importing(t *testing.T, spec provider.KeySpec, m provider.KeyMaterial) provider.KeyRef {
	t.Helper()
	if spec.KID == "" {
		spec.KID = s.kid(t)
	}
	if !s.caps.Alg(spec.Alg).Import {
		t.Skipf("the store imports no %s key", spec.Alg)
	}
	ref, err := s.p.ImportKey(t.Context(), spec, m)
	require.NoError(t, err)
	return ref
}

func (s *suite) testImported(t *testing.T, alg provider.KeyAlg) {
	o := newOutsider(t, alg)
	ref := s.importing(t, provider.KeySpec{Alg: alg}, o.material(t))
	require.Equal(t, 1, ref.Version)
	require.Equal(t, alg, ref.Alg)
	require.Equal(t, o.bits, ref.Bits, "the size of the key, not the default")
	require.Equal(t, alg.Uses(), ref.Uses)
	require.Equal(t, provider.Active, ref.State)
	require.True(t, ref.Imported)
	require.True(t, ref.Private)
	s.answersAlike(t, ref)
	s.holds(t, ref, o)
}

// holds checks that the version is the outsider's key: in its public half, and in what the private half does.
func (s *suite) holds(t *testing.T, ref provider.KeyRef, o outsider) {
	t.Helper()
	if o.public != nil {
		jwk, err := s.p.PublicJWK(t.Context(), ref.KID, ref.Version)
		require.NoError(t, err)
		require.True(t, samePublic(o.public, jwk.PublicKey()))
		want, err := provider.Thumbprint(o.public)
		require.NoError(t, err)
		require.Equal(t, want, ref.Fingerprint)
	} else {
		require.Empty(t, ref.Fingerprint, "the original's defect L06: an imported secret found by hashing guesses")
	}
	if ref.Private {
		s.works(t, ref, o)
	}
}

func (s *suite) testImportForms(t *testing.T, alg provider.KeyAlg) {
	o := newOutsider(t, alg)
	both := o.material(t)
	both.Public = toPEM("PUBLIC KEY", o.publicMaterial(t).Public)
	tests := map[string]provider.KeyMaterial{"PKCS #8 in DER, with its public half in PEM": both}
	for _, f := range o.forms(t) {
		tests[f.name+" in PEM"] = provider.KeyMaterial{Private: provider.NewSecret(toPEM(f.pem, f.der))}
		tests[f.name+" in DER"] = provider.KeyMaterial{Private: provider.NewSecret(f.der)}
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) { s.holds(t, s.importing(t, provider.KeySpec{Alg: alg}, m), o) })
	}
}

func (s *suite) testImportPublic(t *testing.T, alg provider.KeyAlg) {
	o := newOutsider(t, alg)
	kid := s.kid(t)
	ref, err := s.p.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg}, o.publicMaterial(t))
	if !s.caps.Alg(alg).Import && err != nil {
		s.unsupported(t, alg, err)
		s.nothingUnder(t, kid)
		return
	}
	require.NoError(t, err)
	require.False(t, ref.Private)
	s.answersAlike(t, ref)
	s.holds(t, ref, o)
	s.onlyPublic(t, ref)
}

func (s *suite) testImportPublicPEM(t *testing.T) {
	o := newOutsider(t, s.quick(t))
	m := provider.KeyMaterial{Public: toPEM("PUBLIC KEY", o.publicMaterial(t).Public)}
	s.holds(t, s.importing(t, provider.KeySpec{Alg: o.alg}, m), o)
}

// onlyPublic checks that the key verifies and encrypts, and does nothing else.
func (s *suite) onlyPublic(t *testing.T, ref provider.KeyRef) {
	t.Helper()
	set, err := s.p.JWKS(t.Context(), ref.KID)
	require.NoError(t, err)
	require.Contains(t, jwkKIDs(set), ref.JWKKID())
	_, err = s.p.RotateKey(t.Context(), ref.KID, provider.Rotation{})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	all, err := s.p.ListVersions(t.Context(), ref.KID)
	require.NoError(t, err)
	require.Equal(t, []int{1}, versions(all.Keys))
	for name, err := range s.useErrors(t, ref) {
		require.ErrorIs(t, err, provider.ErrUnsupported, name)
	}
}

func (s *suite) testImportHMACSizes(t *testing.T) {
	s.has(t, provider.HMACSHA256, imports)
	for _, size := range []int{provider.MinHMACBits / 8, 33, provider.MaxHMACBits / 8} {
		o := newOutsider(t, provider.HMACSHA256)
		o.bits, o.symmetric = size*8, append(o.symmetric, make([]byte, size-len(o.symmetric))...)
		ref := s.importing(t, provider.KeySpec{Alg: o.alg}, o.material(t))
		require.Equal(t, o.bits, ref.Bits)
		s.holds(t, ref, o)
	}
}

func (s *suite) testImportSize(t *testing.T) {
	algs := slices.DeleteFunc(s.algs(imports), func(a provider.KeyAlg) bool { return a.KeyType() != "RSA" })
	if len(algs) == 0 {
		t.Skip("the store imports no RSA key")
	}
	o := newOutsider(t, algs[0])
	kid := s.kid(t)
	_, err := s.p.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: o.alg, Bits: 3072}, o.material(t))
	require.ErrorIs(t, err, provider.ErrInvalid)
	s.nothingUnder(t, kid)
	ref := s.importing(t, provider.KeySpec{KID: kid, Alg: o.alg, Bits: o.bits}, o.material(t))
	require.Equal(t, o.bits, ref.Bits)
}

// someImport returns an outsider that the store imports quickly.
func (s *suite) someImport(t *testing.T) outsider {
	t.Helper()
	algs := s.algs(imports)
	for _, alg := range append([]provider.KeyAlg{provider.ECDSAP256SHA256, provider.AES256GCM}, algs...) {
		if slices.Contains(algs, alg) {
			return newOutsider(t, alg)
		}
	}
	t.Skip("the store imports no private key")
	return outsider{}
}

func (s *suite) testImportSpec(t *testing.T) {
	o := s.someImport(t)
	spec := provider.KeySpec{
		Alg: o.alg, Uses: o.alg.Uses()[:1], Export: provider.ExportSecretWhenAllowed,
		Label: "from the old house", Tags: map[string]string{"origin": "attic"},
	}
	ref := s.importing(t, spec, o.material(t))
	require.Equal(t, spec.Uses, ref.Uses)
	require.Equal(t, spec.Export, ref.Export)
	require.Equal(t, spec.Label, ref.Label)
	require.Equal(t, spec.Tags, ref.Tags)
	s.answersAlike(t, ref)
}

func (s *suite) testImportTaken(t *testing.T) {
	o := s.someImport(t)
	ref := s.importing(t, provider.KeySpec{Alg: o.alg}, o.material(t))
	for name, again := range map[string]outsider{"another key": newOutsider(t, o.alg), "the same key": o} {
		_, err := s.p.ImportKey(t.Context(), provider.KeySpec{KID: ref.KID, Alg: o.alg, Label: "second"}, again.material(t))
		require.ErrorIs(t, err, provider.ErrExists, name)
	}
	s.answersAlike(t, ref)
	s.holds(t, ref, o)
}

func (s *suite) testImportWipe(t *testing.T) {
	o := s.someImport(t)
	m := o.material(t)
	before := slices.Clone(m.Private.Expose())
	ref := s.importing(t, provider.KeySpec{Alg: o.alg}, m)
	require.Equal(t, before, m.Private.Expose(), "the store does not wipe it")
	m.Private.Wipe()
	s.holds(t, ref, o)
}

func (s *suite) testImportTwice(t *testing.T) {
	o := s.someImport(t)
	first := s.importing(t, provider.KeySpec{Alg: o.alg}, o.material(t))
	second := s.importing(t, provider.KeySpec{Alg: o.alg}, o.material(t))
	require.NotEqual(t, first.KID, second.KID)
	_, err := s.p.DestroyKey(t.Context(), first.KID, 1)
	require.NoError(t, err)
	s.answersAlike(t, second)
	s.holds(t, second, o)
}

func (s *suite) testCannotImport(t *testing.T) {
	for _, alg := range provider.Algs() {
		if s.caps.Alg(alg).Import {
			continue
		}
		t.Run(string(alg), func(t *testing.T) {
			kid := s.kid(t)
			_, err := s.p.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg}, newOutsider(t, alg).material(t))
			s.unsupported(t, alg, err)
			s.nothingUnder(t, kid)
		})
	}
}
