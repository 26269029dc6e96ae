package providertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testHealth(t *testing.T) {
	require.NoError(t, optional[provider.Checking](t, s.p, "Checking").Health(t.Context()))
}

func (s *suite) testKeyByURI(t *testing.T) {
	p := optional[provider.Resolving](t, s.p, "Resolving")
	for _, uri := range []string{"", "nobody-has-this-scheme:key", ":", "%zz"} {
		_, err := p.KeyByURI(t.Context(), uri)
		require.ErrorIs(t, err, provider.ErrInvalid, uri)
	}
	if s.uri == nil {
		return
	}
	first := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	second := s.rotate(t, first.KID, provider.Rotation{})
	for _, ref := range []provider.KeyRef{first, second} {
		got, err := p.KeyByURI(t.Context(), s.uri(ref))
		require.NoError(t, err)
		sameVersion(t, ref, got)
		freshAnswer(t, got.Provenance)
	}
	s.destroy(t, first.KID, 1, 1)
	_, err := p.KeyByURI(t.Context(), s.uri(first))
	require.ErrorIs(t, err, provider.ErrNotFound)
}
