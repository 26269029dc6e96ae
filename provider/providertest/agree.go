package providertest

import (
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testECDH(t *testing.T) {
	p := optional[provider.KeyAgreement](t, s.p, "KeyAgreement")
	t.Run("a key of another kind is ErrUnsupported", func(t *testing.T) { s.testOtherUses(t, "ECDH") })
	s.has(t, provider.X25519, creates, uses)
	t.Run("both sides reach the same secret", func(t *testing.T) {
		ref := s.key(t, provider.X25519)
		s.works(t, ref, outsider{public: s.publicKey(t, ref)})
	})
	t.Run("a peer that is none is ErrInvalid", s.testWrongPeer)
	t.Run("version 0 is the highest", s.testECDHVersion)
	t.Run("a missing version is ErrNotFound", func(t *testing.T) {
		peer := newOutsider(t, provider.X25519).public.(*ecdh.PublicKey)
		_, err := p.ECDH(t.Context(), s.kid(t), 0, peer)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.ECDH(t.Context(), s.key(t, provider.X25519).KID, 2, peer)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.ECDH(t.Context(), s.key(t, provider.X25519).KID, -1, peer)
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
}

func (s *suite) testWrongPeer(t *testing.T) {
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	low := make([]byte, 32) // a point of order 1 (RFC 7748 section 6.1: the shared secret is all zero)
	lowOrder, err := ecdh.X25519().NewPublicKey(low)
	require.NoError(t, err)
	low[0] = 1
	alsoLow, err := ecdh.X25519().NewPublicKey(low)
	require.NoError(t, err)
	for name, peer := range map[string]*ecdh.PublicKey{"of another curve": p256.PublicKey(), "zero": lowOrder, "one": alsoLow, "nil": nil} {
		secret, err := s.p.(provider.KeyAgreement).ECDH(t.Context(), s.key(t, provider.X25519).KID, 0, peer)
		require.ErrorIs(t, err, provider.ErrInvalid, name)
		require.True(t, secret.Empty())
	}
}

func (s *suite) testECDHVersion(t *testing.T) {
	p := s.p.(provider.KeyAgreement)
	first := s.create(t, provider.KeySpec{Alg: provider.X25519})
	s.rotate(t, first.KID, provider.Rotation{})
	peer := newOutsider(t, provider.X25519).public.(*ecdh.PublicKey)
	secrets := map[int]string{}
	for _, version := range []int{0, 1, 2} {
		secret, err := p.ECDH(t.Context(), first.KID, version, peer)
		require.NoError(t, err)
		secrets[version] = string(secret.Expose())
	}
	require.Equal(t, secrets[2], secrets[0])
	require.NotEqual(t, secrets[1], secrets[0])
}
