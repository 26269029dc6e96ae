//go:build cgo

package mirror

import (
	"context"
	"crypto"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// token opens the token that the tests share.
func token(t *testing.T) (*hsm.Token, *softhsm.HSM) {
	t.Helper()
	h := softhsmtest.Get(t)
	p, err := hsm.New(hsm.Config{Module: h.Module, Label: tokenLabel, PIN: softhsmtest.Token(t, tokenLabel).PINSource()})
	require.NoError(t, err)
	return p, h
}

func TestConformanceOverATokenAndAKeystore(t *testing.T) {
	dir := tempDir(t)
	providertest.Run(t, func(t *testing.T) provider.Provider {
		p, _ := token(t)
		return joined(t, p, keystore(t, dir+"/secondary", false), Config{ManifestDir: dir + "/state"})
	}, providertest.SameStore())
}

// The main job: the token goes away, signing says so, what was published stays published, and with the token back signing
// goes on by itself.
func TestTokenIsTakenAway(t *testing.T) {
	p, h := token(t)
	dir := tempDir(t)
	m := joined(t, p, keystore(t, dir+"/secondary", false), Config{ManifestDir: dir + "/state"})
	ctx := t.Context()
	ref, err := m.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.True(t, ref.Mirroring.Mirrored, ref.Mirroring.Reason)
	t.Cleanup(func() {
		_, err := m.DestroyKey(context.Background(), ref.KID, provider.AllVersions)
		require.NoError(t, err)
	})
	signer, err := m.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)
	message := []byte("while the token is there")
	signature, err := signer.SignContext(ctx, provider.ECDSAP256SHA256.Digest(message), crypto.SHA256)
	require.NoError(t, err)
	before, err := m.JWKS(ctx, ref.KID)
	require.NoError(t, err)
	require.Equal(t, provider.Primary, before.Provenance.Source)

	require.NoError(t, h.Remove())
	_, err = signer.SignContext(ctx, provider.ECDSAP256SHA256.Digest(message), crypto.SHA256)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	during, err := m.JWKS(ctx, ref.KID)
	require.NoError(t, err)
	require.Equal(t, provider.Secondary, during.Provenance.Source)
	require.False(t, during.Provenance.Stale)
	require.Equal(t, string(before.JSON()), string(during.JSON()))
	key, ok := during.Key(ref.JWKKID())
	require.True(t, ok)
	require.NoError(t, key.Verify(message, signature))

	require.NoError(t, h.Restore())
	require.Eventually(t, func() bool {
		_, err := signer.SignContext(ctx, provider.ECDSAP256SHA256.Digest(message), crypto.SHA256)
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	after, err := m.JWKS(ctx, ref.KID)
	require.NoError(t, err)
	require.Equal(t, provider.Primary, after.Provenance.Source)
}
