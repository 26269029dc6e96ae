//go:build cgo

package mirror

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// The token goes away, the keystore signs with the same key and says so, and with the token back the token signs.
func TestKeystoreSignsWhileTheTokenIsAway(t *testing.T) {
	p, h := token(t)
	dir := tempDir(t)
	cfg := Config{Mode: Full, ManifestDir: dir + "/mirror", StateDir: dir + "/state"}
	m := joined(t, p, keystore(t, dir+"/keystore", true), cfg)
	ctx := t.Context()
	signing := map[string]*provider.Signer{}
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519, provider.RSAPSSSHA256} {
		spec := provider.KeySpec{Alg: alg, Export: provider.ExportSecretWhenAllowed}
		if alg.KeyType() == "RSA" {
			spec.Bits = provider.MinRSABits
		}
		ref, err := m.CreateKey(ctx, spec)
		require.NoError(t, err)
		require.True(t, ref.Mirroring.Private, ref.Mirroring.Reason)
		signing[ref.KID] = new(provider.Signer)
	}
	shut, err := m.CreateKey(ctx, provider.KeySpec{Alg: provider.Ed25519, Export: provider.ExportPublicOnly})
	require.NoError(t, err)
	cfg.Pin, err = m.ManifestPin(ctx)
	require.NoError(t, err)
	require.NoError(t, m.Close())

	p, _ = token(t)
	cfg.FailOverSigning = true
	m = joined(t, p, keystore(t, dir+"/keystore", true), cfg)
	t.Cleanup(func() {
		for kid := range signing {
			_, err := m.DestroyKey(context.Background(), kid, provider.AllVersions)
			require.NoError(t, err)
		}
		_, err := m.DestroyKey(context.Background(), shut.KID, provider.AllVersions)
		require.NoError(t, err)
	})
	for kid, s := range signing {
		*s, err = m.Signer(ctx, kid, 0)
		require.NoError(t, err)
		require.Equal(t, provider.Primary, signs(t, *s).Source)
	}

	require.NoError(t, h.Remove())
	for kid, s := range signing {
		p := signs(t, *s)
		require.Equal(t, provider.Secondary, p.Source, kid)
		require.WithinDuration(t, time.Now(), p.AsOf, time.Minute)
		require.False(t, p.Stale || p.Unauthenticated)
		fresh, err := m.Signer(ctx, kid, 0)
		require.NoError(t, err)
		require.Equal(t, provider.Secondary, signs(t, fresh).Source)
		require.Equal(t, (*s).Public(), fresh.Public())
	}
	_, err = m.Signer(ctx, shut.KID, 0)
	require.ErrorIs(t, err, provider.ErrUnavailable)

	require.NoError(t, h.Restore())
	for _, s := range signing {
		require.Eventually(t, func() bool { return signs(t, *s).Source == provider.Primary }, time.Minute, 10*time.Millisecond)
	}
}

// A token that refuses the PIN is there: nothing signs in its place. The wrong PIN is given once, and the right one after it.
func TestKeystoreDoesNotSignForAWrongPIN(t *testing.T) {
	p, h := token(t)
	dir := tempDir(t)
	cfg := Config{Mode: Full, ManifestDir: dir + "/mirror"}
	m := joined(t, p, keystore(t, dir+"/keystore", true), cfg)
	ctx := t.Context()
	ref, err := m.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256, Export: provider.ExportSecretWhenAllowed})
	require.NoError(t, err)
	t.Cleanup(func() {
		p, _ := token(t)
		defer p.Close()
		_, err := p.DestroyKey(context.Background(), ref.KID, provider.AllVersions)
		require.NoError(t, err)
	})
	cfg.Pin, err = m.ManifestPin(ctx)
	require.NoError(t, err)
	require.NoError(t, m.Close())

	wrong, err := hsm.New(hsm.Config{Module: h.Module, Label: tokenLabel, PIN: func(context.Context) (provider.Secret, error) {
		return provider.NewSecret([]byte("no such PIN")), nil
	}})
	require.NoError(t, err)
	cfg.FailOverSigning = true
	m = joined(t, wrong, keystore(t, dir+"/keystore", true), cfg)
	_, err = m.Signer(ctx, ref.KID, 0)
	require.ErrorIs(t, err, provider.ErrAuth)
	require.Zero(t, m.Status().SignedBySecondary)
	require.NoError(t, m.Close())
	p, _ = token(t)
	defer p.Close()
	require.NoError(t, p.Health(ctx), softhsmtest.Token(t, tokenLabel).Label+" is not locked")
}
