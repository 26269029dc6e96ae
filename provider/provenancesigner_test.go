package provider_test

import (
	"context"
	"crypto"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// plainSigner answers err, or a signature.
type plainSigner struct {
	provider.Signer
	err error
}

func (s plainSigner) SignContext(context.Context, []byte, crypto.SignerOpts) ([]byte, error) {
	return []byte("signature"), s.err
}

type mirroredSigner struct{ plainSigner }

func (s mirroredSigner) SignWithProvenance(context.Context, []byte, crypto.SignerOpts) ([]byte, provider.Provenance, error) {
	return []byte("signature"), provider.Provenance{Source: provider.Secondary, Reason: "away"}, nil
}

func TestSignWithProvenance(t *testing.T) {
	signature, p, err := provider.SignWithProvenance(t.Context(), plainSigner{}, nil, crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, "signature", string(signature))
	require.Equal(t, provider.Primary, p.Source, "a signer that can't tell is the system of record's own")
	require.WithinDuration(t, time.Now(), p.AsOf, time.Minute)

	signature, p, err = provider.SignWithProvenance(t.Context(), mirroredSigner{}, nil, crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, "signature", string(signature))
	require.Equal(t, provider.Provenance{Source: provider.Secondary, Reason: "away"}, p)

	boom := errors.New("boom")
	signature, p, err = provider.SignWithProvenance(t.Context(), plainSigner{err: boom}, nil, crypto.SHA256)
	require.ErrorIs(t, err, boom)
	require.Empty(t, signature)
	require.Zero(t, p)
}
