package providertest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// testLabel checks that a label changes nothing of what is served.
func (s *suite) testLabel(t *testing.T) {
	p := optional[provider.Labelling](t, s.p, "Labelling")
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t), Label: "for people"})
	label := "label of " + ref.KID
	done, err := p.Relabel(t.Context(), ref.KID, 0, label)
	if errors.Is(err, provider.ErrUnsupported) {
		t.Skipf("the store keeps labels as they are: %v", err)
	}
	require.NoError(t, err)
	require.Equal(t, label, done.Label)
	require.NotEmpty(t, done.Before)
	require.NotContains(t, done.Before, label)
	require.Zero(t, done.Others)
	sameVersion(t, ref, done.Ref)
	s.holdsVersions(t, ref)
	s.works(t, ref, outsider{public: s.publicKey(t, ref)})
	again, err := p.Relabel(t.Context(), ref.KID, 1, label)
	require.NoError(t, err, "repeating it is no error")
	require.Equal(t, []string{label}, again.Before)

	next := s.rotate(t, ref.KID, provider.Rotation{Windows: &provider.Windows{}})
	require.Equal(t, "for people", next.Label)
	both, err := p.Relabel(t.Context(), ref.KID, 0, label)
	require.NoError(t, err)
	require.Equal(t, 2, both.Ref.Version, "0 is the highest version")
	require.Positive(t, both.Others, "version 1 has the label too")

	for _, bad := range []string{"", "a\nb", "a\xff"} {
		_, err := p.Relabel(t.Context(), ref.KID, 1, bad)
		require.ErrorIs(t, err, provider.ErrInvalid)
	}
	_, err = p.Relabel(t.Context(), ref.KID, -1, label)
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = p.Relabel(t.Context(), ref.KID, 3, label)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = p.Relabel(t.Context(), s.kid(t), 0, label)
	require.ErrorIs(t, err, provider.ErrNotFound)
}
