//go:build cgo

package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Anyone who can reach a token can put objects on it that are not private, without a PIN. They say what they like, and none of it
// may be believed, nor get in the way of what is true.

// outsider opens the shared token without a PIN.
func outsider(t *testing.T) *Token {
	t.Helper()
	cfg := configFor(t, sharedToken)
	cfg.PIN = nil
	token, err := Open(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	return token
}

// forge writes a record as a data object that is not private.
func forge(t *testing.T, token *Token, r record) {
	t.Helper()
	text, err := r.marshal()
	require.NoError(t, err)
	require.NoError(t, token.link.create(context.Background(), []attribute{
		{ckaClass, uint(ckoData)}, {ckaToken, true}, {ckaPrivate, false}, {ckaApplication, application}, {ckaLabel, r.KID}, {ckaValue, text},
	}))
}

// forgeCarrier writes a record as a carrier that is not private.
func forgeCarrier(t *testing.T, token *Token, r record) {
	t.Helper()
	template, err := r.carrierTemplate()
	require.NoError(t, err)
	for i, a := range template {
		switch a.typ {
		case ckaPrivate, ckaSensitive:
			template[i].value = false
		}
	}
	require.NoError(t, token.link.create(context.Background(), template))
}

// forgePublic writes a public key object.
func forgePublic(t *testing.T, token *Token, id []byte, key *ecdsa.PublicKey) {
	t.Helper()
	params, point, err := encodeECPublic(key)
	require.NoError(t, err)
	require.NoError(t, token.link.create(context.Background(), []attribute{
		{ckaClass, uint(ckoPublicKey)}, {ckaKeyType, uint(ckkEC)}, {ckaToken, true}, {ckaPrivate, false}, {ckaID, id}, {ckaECParams, params}, {ckaECPoint, point},
	}))
}

func TestWhatAnyoneCouldWriteIsNotBelieved(t *testing.T) {
	ctx := context.Background()
	spec, err := provider.KeySpec{Alg: provider.ECDSAP256SHA256}.Normalize()
	require.NoError(t, err)
	evil, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	fingerprint, err := provider.Thumbprint(&evil.PublicKey)
	require.NoError(t, err)
	var real provider.KeyRef
	var id []byte
	t.Run("made", func(t *testing.T) {
		owner := open(t, sharedToken)
		real, err = owner.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
		require.NoError(t, err)
		k, err := owner.reload(ctx, real.KID)
		require.NoError(t, err)
		id = k.versions[0].idBytes()
	})
	t.Run("forged", func(t *testing.T) {
		forger := outsider(t)
		fake := newRecord(spec)
		fake.Stage, fake.Version, fake.ID, fake.PublicOnly, fake.Imported, fake.Fingerprint = live, 1, "feed", true, true, fingerprint
		forge(t, forger, fake)
		forgeCarrier(t, forger, fake)
		forgePublic(t, forger, []byte{0xFE, 0xED}, &evil.PublicKey)
		tomb := fake
		tomb.Stage, tomb.KID, tomb.ID = destroyed, real.KID, "beef"
		forge(t, forger, tomb)
		forgeCarrier(t, forger, tomb)
		forgePublic(t, forger, id, &evil.PublicKey)
	})

	owner := open(t, sharedToken)
	_, err = owner.GetKey(ctx, spec.KID, 0)
	require.ErrorIs(t, err, provider.ErrNotFound, "a key of theirs is not ours")
	set, err := owner.JWKS(ctx, spec.KID)
	require.NoError(t, err)
	require.Zero(t, set.Len())
	jwk, err := owner.PublicJWK(ctx, real.KID, 0)
	require.NoError(t, err, "a key of ours is not destroyed, and its public half is found among others")
	require.Equal(t, real.Fingerprint, jwk.Thumbprint())
	next, err := owner.RotateKey(ctx, real.KID, provider.Rotation{})
	require.NoError(t, err)
	require.Equal(t, 2, next.Version)
	for _, o := range objectsOf(t, owner, spec.KID) {
		require.Equal(t, StatusForeign, o.Status)
	}
}
