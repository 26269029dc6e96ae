package mirror

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestStated(t *testing.T) {
	r := newRig(t, Config{})
	ctx := t.Context()
	require.Nil(t, r.Stated(), "no manifest has been signed")
	kept, err := r.CreateKey(ctx, provider.KeySpec{KID: "kept", Alg: provider.Ed25519, Label: "for people", Tags: map[string]string{"a": "1"}})
	require.NoError(t, err)
	gone, err := r.CreateKey(ctx, provider.KeySpec{KID: "gone", Alg: provider.Ed25519})
	require.NoError(t, err)
	_, err = r.DestroyKey(ctx, "gone", 1)
	require.NoError(t, err)

	stated := r.Stated()
	require.Len(t, stated, 2)
	require.Equal(t, gone.Fingerprint, stated[0].Ref.Fingerprint)
	require.False(t, stated[0].Destroyed.IsZero())
	kept.Mirroring, kept.State, kept.Provenance, kept.Private, kept.Evidence = nil, "", provider.Provenance{}, false, nil
	require.Equal(t, Statement{Ref: kept}, stated[1])

	_, err = r.primary.DestroyKey(ctx, "kept", 1)
	require.NoError(t, err)
	require.Equal(t, stated, r.Stated(), "what was signed stays said until something else is signed")
	_, err = r.Reconcile(ctx)
	require.NoError(t, err)
	require.False(t, r.Stated()[1].Missing.IsZero())
}
