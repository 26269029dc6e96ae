package providertest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testCreate(t *testing.T) {
	for _, alg := range s.algs(creates) {
		t.Run(string(alg)+" gives its first version, active", func(t *testing.T) { s.testCreated(t, alg) })
	}
	t.Run("an RSA key has 3072 bits unless told otherwise", s.testDefaultRSASize)
	t.Run("an HMAC key takes the size that was asked for", s.testHMACSize)
	t.Run("without a kid it draws one", s.testRandomKID)
	t.Run("a kid may be", s.testAllowedKIDs)
	t.Run("kids that look alike are different keys", s.testAlikeKIDs)
	t.Run("the spec is kept", s.testSpecKept)
	t.Run("as much label and as many tags as allowed", s.testLargestSpec)
	t.Run("a taken kid is ErrExists and stays as it was", s.testCreateTaken)
}

func (s *suite) testCreated(t *testing.T, alg provider.KeyAlg) {
	before := time.Now().Truncate(time.Second)
	kid := s.kid(t)
	ref := s.create(t, provider.KeySpec{KID: kid, Alg: alg})

	require.Equal(t, kid, ref.KID)
	require.Equal(t, 1, ref.Version)
	require.Equal(t, alg, ref.Alg)
	require.Equal(t, alg.Uses(), ref.Uses)
	require.Equal(t, provider.ExportNone, ref.Export)
	require.Empty(t, ref.Label)
	require.Empty(t, ref.Tags)
	require.Equal(t, provider.Active, ref.State)
	require.False(t, ref.Imported)
	require.True(t, ref.Private)
	if _, standard, _ := alg.Bits(); alg.KeyType() == "RSA" {
		require.Equal(t, s.rsaBits(alg), ref.Bits)
	} else {
		require.Equal(t, standard, ref.Bits)
	}
	require.WithinRange(t, ref.Created, before, time.Now())
	require.Equal(t, time.UTC, ref.Created.Location())
	require.Zero(t, ref.Created.Nanosecond(), "to the second")
	require.False(t, ref.ActiveFrom.After(time.Now()))
	if alg.Class() == provider.Symmetric {
		require.Empty(t, ref.Fingerprint, "the hash of a secret lets a guess be checked")
	} else {
		require.Len(t, ref.Fingerprint, 43, "SHA-256 in base64url without padding")
	}
	s.answersAlike(t, ref)
}

// answersAlike checks that every read describes a key of one version as ref does.
func (s *suite) answersAlike(t *testing.T, ref provider.KeyRef) {
	t.Helper()
	for _, version := range []int{0, ref.Version} {
		got, err := s.p.GetKey(t.Context(), ref.KID, version)
		require.NoError(t, err)
		sameVersion(t, ref, got)
	}
	all, err := s.p.ListVersions(t.Context(), ref.KID)
	require.NoError(t, err)
	require.Len(t, all.Keys, 1)
	sameVersion(t, ref, all.Keys[0])
	keys, err := s.p.ListKeys(t.Context())
	require.NoError(t, err)
	ours := listed(keys, ref.KID)
	require.Len(t, ours, 1)
	sameVersion(t, ref, ours[0])
}

func (s *suite) testDefaultRSASize(t *testing.T) {
	for _, alg := range s.algs(creates) {
		support := s.caps.Alg(alg)
		if alg.KeyType() != "RSA" || support.MinBits > provider.DefaultRSABits || support.MaxBits < provider.DefaultRSABits {
			continue
		}
		kid := s.kid(t)
		ref, err := s.p.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg})
		require.NoError(t, err)
		require.Equal(t, provider.DefaultRSABits, ref.Bits)
		return
	}
	t.Skip("the store makes no RSA key of 3072 bits")
}

func (s *suite) testHMACSize(t *testing.T) {
	s.has(t, provider.HMACSHA256, creates)
	bits := s.caps.Alg(provider.HMACSHA256).MaxBits
	ref := s.create(t, provider.KeySpec{Alg: provider.HMACSHA256, Bits: bits})
	require.Equal(t, bits, ref.Bits)
}

func (s *suite) testRandomKID(t *testing.T) {
	alg := s.quick(t)
	seen := map[string]bool{}
	for range 2 {
		ref, err := s.p.CreateKey(t.Context(), provider.KeySpec{Alg: alg})
		require.NoError(t, err)
		s.destroyAfter(t, ref.KID)
		require.NoError(t, provider.ValidateKID(ref.KID))
		seen[ref.KID] = true
		_, err = s.p.GetKey(t.Context(), ref.KID, 1)
		require.NoError(t, err)
	}
	require.Len(t, seen, 2)
}

func (s *suite) testAllowedKIDs(t *testing.T) {
	alg := s.quick(t)
	tests := []struct{ name, kid string }{
		{"128 bytes long", s.prefix + strings.Repeat("x", provider.MaxKID-len(s.prefix))},
		{"of every allowed character", s.prefix + "AZaz09._-"},
		{"with dots at its end", s.prefix + "1..."},
		{"like a version number", s.prefix + "k.3"},
		{"like the name of a version", s.prefix + "k.v3"},
		{"with a dash at its start", "-" + s.prefix},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.destroyAfter(t, tt.kid)
			ref := s.create(t, provider.KeySpec{KID: tt.kid, Alg: alg})
			require.Equal(t, tt.kid, ref.KID)
			s.answersAlike(t, ref)
			jwk, err := s.p.PublicJWK(t.Context(), tt.kid, 1)
			require.NoError(t, err)
			require.Equal(t, tt.kid+".1", jwk.JWKKID())
		})
	}
}

func (s *suite) testAlikeKIDs(t *testing.T) {
	alg := s.quick(t)
	base := s.kid(t)
	kids := []string{base + "a", base + "A", base + "a.1", base + "a.v1", base + "ab", base + "a_1"}
	fingerprints := map[string]string{}
	for _, kid := range kids {
		s.destroyAfter(t, kid)
		fingerprints[kid] = s.create(t, provider.KeySpec{KID: kid, Alg: alg}).Fingerprint
	}
	for _, kid := range kids {
		got, err := s.p.GetKey(t.Context(), kid, 0)
		require.NoError(t, err)
		require.Equal(t, fingerprints[kid], got.Fingerprint, kid)
	}
	_, err := s.p.DestroyKey(t.Context(), kids[0], provider.AllVersions)
	require.NoError(t, err)
	for _, kid := range kids[1:] {
		got, err := s.p.GetKey(t.Context(), kid, 0)
		require.NoError(t, err, "destroying %s left %s alone", kids[0], kid)
		require.Equal(t, fingerprints[kid], got.Fingerprint, kid)
	}
}

func (s *suite) testSpecKept(t *testing.T) {
	alg := s.quick(t)
	for _, policy := range []provider.ExportPolicy{provider.ExportNone, provider.ExportPublicOnly, provider.ExportSecretWhenAllowed} {
		t.Run(string(policy), func(t *testing.T) {
			spec := provider.KeySpec{
				Alg: alg, Export: policy, Uses: []provider.KeyUse{provider.UseVerify, provider.UseSign, provider.UseVerify},
				Label: `Löhne, "payments" 100% a=b; {c} \`,
				Tags:  map[string]string{"team": "pay", "a=b;c d/ü": "line\nend\x00\t\"q\"", "empty": "", "mirrored": "mine", "alg": "mine too"},
			}
			ref := s.create(t, spec)
			require.Equal(t, []provider.KeyUse{provider.UseSign, provider.UseVerify}, ref.Uses, "once each, in the contract's order")
			require.Equal(t, spec.Label, ref.Label)
			require.Equal(t, spec.Tags, ref.Tags)
			require.Equal(t, policy, ref.Export)
			s.answersAlike(t, ref)
		})
	}
}

func (s *suite) testLargestSpec(t *testing.T) {
	spec := provider.KeySpec{Alg: s.quick(t), Label: strings.Repeat("ü", provider.MaxLabel/2), Tags: map[string]string{}}
	for i := range provider.MaxTags {
		spec.Tags[fmt.Sprintf("%0*d", provider.MaxTagKey, i)] = strings.Repeat("v", provider.MaxTagValue)
	}
	ref := s.create(t, spec)
	require.Equal(t, spec.Label, ref.Label)
	require.Equal(t, spec.Tags, ref.Tags)
	s.answersAlike(t, ref)
}

func (s *suite) testCreateTaken(t *testing.T) {
	alg := s.quick(t)
	ref := s.create(t, provider.KeySpec{Alg: alg, Label: "first"})
	_, err := s.p.CreateKey(t.Context(), provider.KeySpec{KID: ref.KID, Alg: alg, Label: "second"})
	require.ErrorIs(t, err, provider.ErrExists)
	require.ErrorContains(t, err, ref.KID)
	s.answersAlike(t, ref)
}

// nothingUnder checks that the store holds no key under kid.
func (s *suite) nothingUnder(t *testing.T, kid string) {
	t.Helper()
	_, err := s.p.GetKey(t.Context(), kid, 0)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = s.p.ListVersions(t.Context(), kid)
	require.ErrorIs(t, err, provider.ErrNotFound)
	keys, err := s.p.ListKeys(t.Context())
	require.NoError(t, err)
	require.Empty(t, listed(keys, kid))
}
