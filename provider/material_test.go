package provider_test

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestParsedPublicKeyIsNoPartOfTheCallersBytes(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	want := slices.Clone(public)
	m, err := provider.PublicMaterial(public)
	require.NoError(t, err)
	parsed, err := m.Parse(provider.Ed25519, 0)
	require.NoError(t, err)
	clear(m.Public)
	require.Equal(t, want, parsed.Public)
}
