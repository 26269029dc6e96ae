//go:build cgo

package mirror

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// In mode full the keystore ends up with the token's own key, wherever the key's policy lets it out, and never otherwise.
func TestFullCopiesWhatTheTokenMayGiveAway(t *testing.T) {
	p, _ := token(t)
	dir := tempDir(t)
	m := joined(t, p, keystore(t, dir+"/secondary", true), Config{Mode: Full, StateDir: dir + "/state"})
	copies := keystore(t, dir+"/secondary", true)
	t.Cleanup(func() { require.NoError(t, copies.Close()) })
	ctx := t.Context()
	algs := []provider.KeyAlg{provider.AES256GCM, provider.HMACSHA256, provider.Ed25519, provider.X25519, provider.RSAPSSSHA256, provider.ECDSAP384SHA384}
	for _, alg := range algs {
		for _, policy := range []provider.ExportPolicy{provider.ExportNone, provider.ExportSecretWhenAllowed} {
			t.Run(string(alg)+" with the policy "+string(policy), func(t *testing.T) {
				allowed := policy == provider.ExportSecretWhenAllowed
				spec := provider.KeySpec{Alg: alg, Export: policy}
				if alg.KeyType() == "RSA" {
					spec.Bits = provider.MinRSABits
				}
				ref, err := m.CreateKey(ctx, spec)
				require.NoError(t, err)
				t.Cleanup(func() {
					_, err := m.DestroyKey(context.Background(), ref.KID, provider.AllVersions)
					require.NoError(t, err)
				})
				require.True(t, ref.Mirroring.Mirrored, ref.Mirroring.Reason)
				require.Equal(t, allowed, ref.Mirroring.Private, ref.Mirroring.Reason)

				copied, err := copies.ExportKey(ctx, ref.KID, ref.Version)
				if !allowed {
					require.Error(t, err)
					require.True(t, copied.Empty())
					return
				}
				require.NoError(t, err)
				own, err := p.ExportKey(ctx, ref.KID, ref.Version)
				require.NoError(t, err)
				require.Equal(t, own.Expose(), copied.Expose())
			})
		}
	}
}
