//go:build cgo

package hsm

import (
	"crypto"
	"crypto/rsa"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestOptionsOfADecryption(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts crypto.DecrypterOpts
		want error
	}{
		{"none", nil, nil},
		{"SHA-256", &rsa.OAEPOptions{Hash: crypto.SHA256}, nil},
		{"SHA-256 for both", &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA256}, nil},
		{"another hash", &rsa.OAEPOptions{Hash: crypto.SHA1}, provider.ErrInvalid},
		{"no hash", &rsa.OAEPOptions{}, provider.ErrInvalid},
		{"another hash for MGF1", &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA1}, provider.ErrInvalid},
		{"nil of the right type", (*rsa.OAEPOptions)(nil), provider.ErrInvalid},
		//lint:ignore SA1019 the wrong padding is the point
		{"another padding", &rsa.PKCS1v15DecryptOptions{}, provider.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := oaepLabel(tt.opts)
			require.ErrorIs(t, err, tt.want)
		})
	}
	label, err := oaepLabel(&rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte("label")})
	require.NoError(t, err)
	require.Equal(t, "label", string(label))
}

func TestANumberIsPaddedInFront(t *testing.T) {
	require.Equal(t, []byte{0, 0, 1, 2}, padded([]byte{1, 2}, 4))
	require.Equal(t, []byte{1, 2}, padded([]byte{1, 2}, 2))
	require.Equal(t, []byte{0, 0}, padded(nil, 2))
}
