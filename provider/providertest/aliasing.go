package providertest

import (
	"crypto/rand"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// testAliasing checks that the store neither changes nor keeps what a caller hands in, and that what a caller does to an
// answer changes nothing in the store.
func (s *suite) testAliasing(t *testing.T) {
	t.Run("a spec stays as it was, and may change afterwards", s.testSpecAliasing)
	t.Run("a rotation stays as it was, and may change afterwards", s.testRotationAliasing)
	t.Run("material stays as it was, and may change afterwards", s.testMaterialAliasing)
	t.Run("answers belong to the caller", s.testAnswerAliasing)
	t.Run("messages stay as they were", s.testMessageAliasing)
	t.Run("copies stay as they were, and may change afterwards", s.testReplicaAliasing)
}

func (s *suite) testSpecAliasing(t *testing.T) {
	alg := s.quick(t)
	backwards := []provider.KeyUse{provider.UseVerify, provider.UseSign}
	given := provider.KeySpec{KID: s.kid(t), Alg: alg, Uses: backwards, Tags: map[string]string{"a": "1"}}
	before := given
	before.Uses, before.Tags = slices.Clone(given.Uses), maps.Clone(given.Tags)
	ref := s.create(t, given)
	require.Equal(t, before, given)

	given.Uses[0], given.Tags["a"] = provider.UseEncrypt, "changed"
	got, err := s.p.GetKey(t.Context(), ref.KID, 1)
	require.NoError(t, err)
	require.Equal(t, before.Tags, got.Tags)
	require.Equal(t, []provider.KeyUse{provider.UseSign, provider.UseVerify}, got.Uses)
}

func (s *suite) testRotationAliasing(t *testing.T) {
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	label, windows, tags := "second", provider.DefaultWindows(), map[string]string{"a": "1"}
	second := s.rotate(t, ref.KID, provider.Rotation{Label: &label, Windows: &windows, Tags: tags})
	require.Equal(t, map[string]string{"a": "1"}, tags)
	require.Equal(t, provider.DefaultWindows(), windows)

	label, windows.PublishBefore, tags["a"] = "changed", 0, "changed"
	got, err := s.p.GetKey(t.Context(), ref.KID, 2)
	require.NoError(t, err)
	sameVersion(t, second, got)
	require.Equal(t, "second", got.Label)
	require.Equal(t, "1", got.Tags["a"])
}

func (s *suite) testMaterialAliasing(t *testing.T) {
	o := newOutsider(t, s.quick(t))
	m := o.publicMaterial(t)
	before := slices.Clone(m.Public)
	ref := s.importing(t, provider.KeySpec{Alg: o.alg}, m)
	require.Equal(t, before, m.Public)
	clear(m.Public)
	s.answersAlike(t, ref)
	s.holds(t, ref, o)
}

func (s *suite) testAnswerAliasing(t *testing.T) {
	kid := s.create(t, provider.KeySpec{Alg: s.quick(t), Tags: map[string]string{"a": "1"}}).KID
	spoil := func(ref provider.KeyRef) {
		ref.Uses[0], ref.Tags["a"] = provider.UseWrap, "spoilt"
	}
	want, err := s.p.GetKey(t.Context(), kid, 1)
	require.NoError(t, err)
	want = want.Clone()

	got, err := s.p.GetKey(t.Context(), kid, 1)
	require.NoError(t, err)
	spoil(got)
	for _, list := range []func() (provider.KeyList, error){
		func() (provider.KeyList, error) { return s.p.ListKeys(t.Context()) },
		func() (provider.KeyList, error) { return s.p.ListVersions(t.Context(), kid) },
	} {
		all, err := list()
		require.NoError(t, err)
		for _, ref := range listed(all, kid) {
			spoil(ref)
		}
		clear(all.Keys)
	}
	jwk, err := s.p.PublicJWK(t.Context(), kid, 1)
	require.NoError(t, err)
	text := string(jwk.JSON())
	spoil(jwk.Ref())
	clear(jwk.JSON())
	set, err := s.p.JWKS(t.Context(), kid)
	require.NoError(t, err)
	clear(set.JSON())
	clear(set.Keys())
	if _, ok := s.p.(provider.Signing); ok {
		spoil(s.signer(t, want).KeyRef())
	}

	s.answersAlike(t, want)
	again, err := s.p.JWKS(t.Context(), kid)
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[`+text+`]}`, string(again.JSON()))
	require.JSONEq(t, string(again.JSON()), string(set.JSON()))
}

func (s *suite) testMessageAliasing(t *testing.T) {
	for _, alg := range s.algs(creates, uses) {
		message := []byte("the caller's own message, as it was given")
		ref := s.key(t, alg)
		switch {
		case alg.Signs():
			digest := slices.Clone(alg.Digest(message))
			before := slices.Clone(digest)
			_, err := s.signer(t, ref).Sign(rand.Reader, digest, alg.SignerOpts())
			require.NoError(t, err)
			require.Equal(t, before, digest, alg)
		case alg == provider.RSAOAEPSHA256:
			ciphertext := encryptTo(t, s.publicKey(t, ref), message, nil)
			before := slices.Clone(ciphertext)
			_, err := s.decrypter(t, ref).Decrypt(rand.Reader, ciphertext, nil)
			require.NoError(t, err)
			require.Equal(t, before, ciphertext)
		case alg == provider.AES256GCM:
			s.testSealAliasing(t, s.aead(t, ref), message)
		}
	}
}

func (s *suite) testSealAliasing(t *testing.T, a provider.AEAD, message []byte) {
	t.Helper()
	before, ad := slices.Clone(message), []byte("header")
	sealed, err := a.Encrypt(t.Context(), message, ad)
	require.NoError(t, err)
	require.Equal(t, before, message)
	require.Equal(t, "header", string(ad))
	kept := slices.Clone(sealed)
	_, err = a.Decrypt(t.Context(), sealed, ad)
	require.NoError(t, err)
	require.Equal(t, kept, sealed, "not decrypted in place")
}

func (s *suite) testReplicaAliasing(t *testing.T) {
	optional[provider.Replica](t, s.p, "Replica")
	if !s.caps.Has(provider.FeatureReplica) {
		t.Skip("the store has no feature replica")
	}
	o := newOutsider(t, s.quick(t))
	ref := s.copied(t, o, 2)
	before := ref.Clone()
	stored := s.put(t, ref, o.publicMaterial(t))
	require.Equal(t, before, ref)
	ref.Uses[0], ref.Tags["from"] = provider.UseWrap, "changed"
	s.answersAlike(t, stored)
	s.isCopy(t, before, stored, false)
}
