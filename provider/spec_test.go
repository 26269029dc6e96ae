package provider_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestNormalizeFillsInDefaults(t *testing.T) {
	for _, alg := range provider.Algs() {
		spec, err := provider.KeySpec{Alg: alg}.Normalize()
		require.NoError(t, err)
		_, standard, _ := alg.Bits()
		require.NoError(t, provider.ValidateKID(spec.KID))
		require.Equal(t, provider.KeySpec{KID: spec.KID, Alg: alg, Bits: standard, Uses: alg.Uses(), Export: provider.ExportNone}, spec)
	}
}

func TestNormalizeKeepsWhatWasGiven(t *testing.T) {
	given := provider.KeySpec{
		KID: "payments", Alg: provider.RSAOAEPSHA256, Bits: 4096, Export: provider.ExportSecretWhenAllowed, Label: "for people",
		Uses: []provider.KeyUse{provider.UseUnwrap, provider.UseDecrypt, provider.UseUnwrap}, Tags: map[string]string{"a": "1"},
	}
	spec, err := given.Normalize()
	require.NoError(t, err)
	want := given
	want.Uses = []provider.KeyUse{provider.UseDecrypt, provider.UseUnwrap}
	require.Equal(t, want, spec, "only the uses are put in order")
	again, err := spec.Normalize()
	require.NoError(t, err)
	require.Equal(t, spec, again)

	spec.Tags["a"], spec.Uses[0] = "spoilt", "spoilt"
	require.Equal(t, "1", given.Tags["a"])
	require.Len(t, given.Uses, 3)
	require.Equal(t, provider.UseUnwrap, given.Uses[0])
}

func tags(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint(i)] = ""
	}
	return m
}

func TestNormalizeRefuses(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name string
		spec provider.KeySpec
	}{
		{"no algorithm", provider.KeySpec{}},
		{"an unknown algorithm", provider.KeySpec{Alg: "RSA"}},
		{"a bad kid", provider.KeySpec{KID: "..", Alg: provider.Ed25519}},
		{"RSA below 2048 bits", provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: 2040}},
		{"RSA above 4096 bits", provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: 4104}},
		{"RSA not in steps of 8 bits", provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: 2049}},
		{"a negative size", provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: -1}},
		{"HMAC below 256 bits", provider.KeySpec{Alg: provider.HMACSHA256, Bits: 248}},
		{"HMAC above 4096 bits", provider.KeySpec{Alg: provider.HMACSHA256, Bits: 4104}},
		{"another size of a curve", provider.KeySpec{Alg: provider.ECDSAP521SHA512, Bits: 512}},
		{"a use of another algorithm", provider.KeySpec{Alg: provider.X25519, Uses: []provider.KeyUse{provider.UseDerive, provider.UseSign}}},
		{"an empty use", provider.KeySpec{Alg: provider.X25519, Uses: []provider.KeyUse{""}}},
		{"an unknown policy", provider.KeySpec{Alg: provider.Ed25519, Export: "always"}},
		{"a label of 257 bytes", provider.KeySpec{Alg: provider.Ed25519, Label: long(257)}},
		{"a label that is no UTF-8", provider.KeySpec{Alg: provider.Ed25519, Label: "\xff"}},
		{"33 tags", provider.KeySpec{Alg: provider.Ed25519, Tags: tags(33)}},
		{"an empty tag key", provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{"": ""}}},
		{"a tag key of 65 bytes", provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{long(65): ""}}},
		{"a tag value of 257 bytes", provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{"a": long(257)}}},
		{"a tag key that is no UTF-8", provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{"\xff": ""}}},
		{"a tag value that is no UTF-8", provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{"a": "\xff"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, err := tt.spec.Normalize()
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.Zero(t, spec)
		})
	}
}

func TestNormalizeTakesTheBounds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, spec := range []provider.KeySpec{
		{Alg: provider.RSAPSSSHA256, Bits: 2048},
		{Alg: provider.RSAPSSSHA256, Bits: 4096},
		{Alg: provider.HMACSHA256, Bits: 256},
		{Alg: provider.HMACSHA256, Bits: 4096},
		{Alg: provider.ECDSAP521SHA512, Bits: 521},
		{Alg: provider.Ed25519, Label: long(256)},
		{Alg: provider.Ed25519, Tags: tags(32)},
		{Alg: provider.Ed25519, Tags: map[string]string{long(64): long(256)}},
	} {
		_, err := spec.Normalize()
		require.NoError(t, err)
	}
}

func TestRotationFollowsTheLatestVersion(t *testing.T) {
	latest := provider.KeyRef{
		KID: "payments", Version: 3, Alg: provider.RSAPSSSHA256, Bits: 4096, Uses: []provider.KeyUse{provider.UseSign},
		Export: provider.ExportPublicOnly, Label: "old", Tags: map[string]string{"a": "1"},
	}
	label := "new"
	tests := []struct {
		name    string
		r       provider.Rotation
		edit    func(*provider.KeySpec)
		windows provider.Windows
	}{
		{"nothing said", provider.Rotation{}, func(*provider.KeySpec) {}, provider.Windows{PublishBefore: 10 * time.Minute, RetireAfter: 24 * time.Hour}},
		{"another size", provider.Rotation{Bits: 2048}, func(s *provider.KeySpec) { s.Bits = 2048 }, provider.DefaultWindows()},
		{"another label", provider.Rotation{Label: &label}, func(s *provider.KeySpec) { s.Label = "new" }, provider.DefaultWindows()},
		{"no label", provider.Rotation{Label: new(string)}, func(s *provider.KeySpec) { s.Label = "" }, provider.DefaultWindows()},
		{"no tags", provider.Rotation{Tags: map[string]string{}}, func(s *provider.KeySpec) { s.Tags = map[string]string{} }, provider.DefaultWindows()},
		{"now", provider.Rotation{Windows: &provider.Windows{}}, func(*provider.KeySpec) {}, provider.Windows{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := latest.Spec()
			tt.edit(&want)
			spec, windows, err := tt.r.Normalize(latest)
			require.NoError(t, err)
			require.Equal(t, want, spec)
			require.Equal(t, tt.windows, windows)
		})
	}
	for _, bad := range []provider.Rotation{
		{Bits: 1024}, {Windows: &provider.Windows{PublishBefore: -1}}, {Windows: &provider.Windows{RetireAfter: -1}}, {Tags: tags(33)},
	} {
		_, _, err := bad.Normalize(latest)
		require.ErrorIs(t, err, provider.ErrInvalid)
	}
}
