//go:build cgo

package hsm

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// watched counts signatures by handle.
type watched struct {
	link
	handle uint
	signed *atomic.Int64
}

func (w watched) sign(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error) {
	if key.handle == w.handle {
		w.signed.Add(1)
	}
	return w.link.sign(ctx, key, m, data)
}

// A module may give the handle of a destroyed object to the next one that is made, as tpm2-pkcs11 does: a signature by it would be
// another key's.
func TestTheHandleOfADestroyedKeyIsNotUsedAgain(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	signer, err := token.Signer(ctx, ref.KID, 1)
	require.NoError(t, err)
	_, v, err := token.lookupVersion(ctx, ref.KID, 1)
	require.NoError(t, err)
	var signed atomic.Int64
	token.link = watched{token.link, v.private.handle, &signed}
	_, err = signer.SignContext(ctx, make([]byte, 32), ref.Alg.SignerOpts())
	require.NoError(t, err)
	require.EqualValues(t, 1, signed.Load())
	_, err = token.DestroyKey(ctx, ref.KID, 1)
	require.NoError(t, err)
	_, err = signer.SignContext(ctx, make([]byte, 32), ref.Alg.SignerOpts())
	require.ErrorIs(t, err, provider.ErrNotFound)
	require.EqualValues(t, 1, signed.Load(), "the old handle was not asked")
}
