//go:build cgo

package hsm

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Another program destroys one of the objects of a key. The version is refused, and the log says so once; the key can still be rotated,
// and the version be destroyed.
func TestAKeyGoesOnThoughItsObjectsAreDestroyed(t *testing.T) {
	tests := []struct {
		name  string
		alg   provider.KeyAlg
		class uint
	}{
		{"the private key", provider.ECDSAP256SHA256, ckoPrivateKey},
		{"the public key", provider.ECDSAP256SHA256, ckoPublicKey},
		{"the secret key", provider.HMACSHA256, ckoSecretKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other := open(t, sharedToken)
			ref := createKey(t, other, tt.alg)
			objects, err := other.link.find(t.Context(), attribute{ckaLabel, ref.KID + ".v1"}, attribute{ckaClass, tt.class})
			require.NoError(t, err)
			require.Len(t, objects, 1)
			require.NoError(t, other.link.destroy(t.Context(), objects[0]))

			var records recorder
			cfg := configFor(t, sharedToken)
			cfg.Logger = slog.New(&records)
			token, err := Open(t.Context(), cfg)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, token.Close()) })
			for range 3 {
				_, err = token.GetKey(t.Context(), ref.KID, 1)
				require.ErrorIs(t, err, provider.ErrTampered)
				_, err = token.ListVersions(t.Context(), ref.KID)
				require.ErrorIs(t, err, provider.ErrTampered)
			}
			require.NoError(t, token.enumerate(t.Context()))
			require.Equal(t, 1, records.about("kid", ref.KID))

			next, err := token.RotateKey(t.Context(), ref.KID, provider.Rotation{Windows: &provider.Windows{}})
			require.NoError(t, err)
			require.Equal(t, 2, next.Version)
			require.Equal(t, ref.Spec(), next.Spec(), "as the version before")
			_, err = token.GetKey(t.Context(), ref.KID, 1)
			require.ErrorIs(t, err, provider.ErrTampered)
			done, err := token.DestroyKey(t.Context(), ref.KID, 1)
			require.NoError(t, err)
			require.Equal(t, []int{1}, done.Versions)
			_, err = token.GetKey(t.Context(), ref.KID, 1)
			require.ErrorIs(t, err, provider.ErrNotFound)
			list, err := token.ListVersions(t.Context(), ref.KID)
			require.NoError(t, err)
			require.Empty(t, list.Problems)
			if tt.alg.Signs() {
				requireSigns(t, token, next)
			}
		})
	}
}
