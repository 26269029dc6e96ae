package mirror

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// A label is set on the primary and nowhere else, so nothing has to be mirrored; and it never fails over.
func TestALabelIsThePrimarys(t *testing.T) {
	r := newRig(t, Config{})
	ctx := t.Context()
	_, err := r.CreateKey(ctx, provider.KeySpec{KID: "web", Alg: provider.Ed25519})
	require.NoError(t, err)
	done, err := r.Relabel(ctx, "web", 0, "web server")
	require.NoError(t, err)
	require.Equal(t, []string{"web.1"}, done.Before)
	onSecondary, err := r.secondary.Relabel(ctx, "web", 1, "looked at")
	require.NoError(t, err)
	require.Equal(t, []string{"web.1"}, onSecondary.Before)
	report, err := r.Reconcile(ctx)
	require.NoError(t, err)
	require.Empty(t, report.Copied)
	_, err = r.Relabel(ctx, ManifestKID, 0, "another")
	require.ErrorIs(t, err, provider.ErrInvalid, "it is reserved")
	r.primary.Unplug()
	_, err = r.Relabel(ctx, "web", 0, "another")
	require.ErrorIs(t, err, provider.ErrUnavailable)
	r.primary.Plug()
}

func TestALabelOnAPrimaryWithoutLabels(t *testing.T) {
	m, err := New(providertest.NewFake(t).Plain(), providertest.NewFake(t), Config{})
	require.NoError(t, err)
	defer m.Close()
	_, err = m.CreateKey(t.Context(), provider.KeySpec{KID: "web", Alg: provider.Ed25519})
	require.NoError(t, err)
	_, err = m.Relabel(t.Context(), "web", 0, "a\nb")
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = m.Relabel(t.Context(), "web", 0, "web server")
	require.ErrorIs(t, err, provider.ErrUnsupported)
}
