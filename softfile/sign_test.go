package softfile

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Options that are a nil pointer are an error of the caller, and no reason to panic.
func TestSignerOptionsThatAreANilPointer(t *testing.T) {
	for alg, opts := range map[provider.KeyAlg]crypto.SignerOpts{
		provider.RSAPSSSHA256:   (*rsa.PSSOptions)(nil),
		provider.RSAPKCS1SHA256: (*rsa.PSSOptions)(nil),
		provider.Ed25519:        (*ed25519.Options)(nil),
	} {
		_, err := signerOpts(alg, make([]byte, 32), opts)
		require.ErrorIs(t, err, provider.ErrInvalid, alg)
	}
}

func TestOptionsThatLeaveTheChoiceToTheKey(t *testing.T) {
	own := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	for _, opts := range []crypto.SignerOpts{nil, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}} {
		got, err := signerOpts(provider.RSAPSSSHA256, make([]byte, 32), opts)
		require.NoError(t, err)
		require.Equal(t, own, got)
	}
	got, err := signerOpts(provider.Ed25519, []byte("message"), nil)
	require.NoError(t, err)
	require.Equal(t, crypto.Hash(0), got)
}
