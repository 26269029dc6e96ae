package provider_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestKeyRefClone(t *testing.T) {
	ref := provider.KeyRef{KID: "k", Version: 2, Uses: []provider.KeyUse{provider.UseSign}, Tags: map[string]string{"a": "1"}}
	copied := ref.Clone()
	require.Equal(t, ref, copied)
	copied.Uses[0], copied.Tags["a"] = "spoilt", "spoilt"
	require.Equal(t, provider.UseSign, ref.Uses[0])
	require.Equal(t, "1", ref.Tags["a"])
}

func TestKeyRefSpecMakesAnotherVersionLikeIt(t *testing.T) {
	spec, err := provider.KeySpec{
		KID: "k", Alg: provider.RSAOAEPSHA256, Bits: 4096, Uses: []provider.KeyUse{provider.UseUnwrap}, Export: provider.ExportPublicOnly,
		Label: "l", Tags: map[string]string{"a": "1"},
	}.Normalize()
	require.NoError(t, err)
	ref := provider.KeyRef{
		KID: spec.KID, Version: 3, Alg: spec.Alg, Bits: spec.Bits, Uses: spec.Uses, Export: spec.Export, Label: spec.Label, Tags: spec.Tags,
		Created: time.Now(), State: provider.Active, Fingerprint: "f", Private: true,
	}
	require.Equal(t, spec, ref.Spec())
	ref.Spec().Tags["a"] = "spoilt"
	ref.Spec().Uses[0] = "spoilt"
	require.Equal(t, spec, ref.Spec())
	require.Equal(t, "k.3", ref.JWKKID())
	require.True(t, ref.Allows(provider.UseUnwrap))
	require.False(t, ref.Allows(provider.UseWrap))
}

func TestSourceNames(t *testing.T) {
	for source, want := range map[provider.Source]string{provider.Primary: "primary", provider.Secondary: "mirror", provider.Merged: "merged", 0: "unknown", 9: "unknown"} {
		require.Equal(t, want, source.String())
	}
}

func TestProvenanceOfThePrimary(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	require.Equal(t, provider.Provenance{Source: provider.Primary, AsOf: now.UTC()}, provider.FromPrimary(now))
}

func TestCapabilitiesOfAnAlgorithm(t *testing.T) {
	c := provider.Capabilities{
		Algs:     []provider.AlgSupport{{Alg: provider.Ed25519, Create: true}},
		Features: []provider.Feature{provider.FeatureExport},
	}
	require.True(t, c.Alg(provider.Ed25519).Create)
	require.Equal(t, provider.AlgSupport{Alg: provider.X25519, Missing: "not offered by the store"}, c.Alg(provider.X25519))
	require.True(t, c.Has(provider.FeatureExport))
	require.False(t, c.Has(provider.FeatureReplica))
}
