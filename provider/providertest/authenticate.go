package providertest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testMAC(t *testing.T) {
	p := optional[provider.Authenticating](t, s.p, "Authenticating")
	t.Run("a key of another kind is ErrUnsupported", func(t *testing.T) { s.testOtherUses(t, "MAC") })
	s.has(t, provider.HMACSHA256, creates, uses)
	t.Run("verifies its own codes and no others", s.testCodes)
	t.Run("a key for one direction is ErrInvalid in the other", s.testMACOneDirection)
	t.Run("version 0 is the highest, and stays bound to it", s.testMACVersion)
	t.Run("a missing version is ErrNotFound", func(t *testing.T) {
		_, err := p.MAC(t.Context(), s.kid(t), 0)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.MAC(t.Context(), s.key(t, provider.HMACSHA256).KID, 2)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.MAC(t.Context(), s.key(t, provider.HMACSHA256).KID, -1)
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
}

func (s *suite) testCodes(t *testing.T) {
	m := s.mac(t, s.key(t, provider.HMACSHA256))
	for _, message := range [][]byte{nil, []byte("m"), make([]byte, 100_000)} {
		code, err := m.Sum(t.Context(), message)
		require.NoError(t, err)
		require.Len(t, code, 32)
		again, err := m.Sum(t.Context(), message)
		require.NoError(t, err)
		require.Equal(t, code, again)
		require.NoError(t, m.Verify(t.Context(), message, code))
		for i := range code {
			wrong := slices.Clone(code)
			wrong[i] ^= 0x80
			require.ErrorIs(t, m.Verify(t.Context(), message, wrong), provider.ErrInvalid)
		}
		require.ErrorIs(t, m.Verify(t.Context(), append(slices.Clone(message), 'x'), code), provider.ErrInvalid)
		for name, wrong := range map[string][]byte{"none": nil, "truncated": code[:16], "with more behind": append(slices.Clone(code), 0)} {
			require.ErrorIs(t, m.Verify(t.Context(), message, wrong), provider.ErrInvalid, name)
		}
	}
}

func (s *suite) testMACOneDirection(t *testing.T) {
	signs := s.mac(t, s.create(t, provider.KeySpec{Alg: provider.HMACSHA256, Uses: []provider.KeyUse{provider.UseSign}}))
	code, err := signs.Sum(t.Context(), []byte("m"))
	require.NoError(t, err)
	require.ErrorIs(t, signs.Verify(t.Context(), []byte("m"), code), provider.ErrInvalid)
	verifies := s.mac(t, s.create(t, provider.KeySpec{Alg: provider.HMACSHA256, Uses: []provider.KeyUse{provider.UseVerify}}))
	_, err = verifies.Sum(t.Context(), []byte("m"))
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorIs(t, verifies.Verify(t.Context(), []byte("m"), code), provider.ErrInvalid)
}

func (s *suite) testMACVersion(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: provider.HMACSHA256})
	old := s.mac(t, first)
	second := s.rotate(t, first.KID, provider.Rotation{})
	latest := first
	latest.Version = 0
	code, err := s.mac(t, latest).Sum(t.Context(), []byte("m"))
	require.NoError(t, err)
	require.NoError(t, s.mac(t, second).Verify(t.Context(), []byte("m"), code))
	require.ErrorIs(t, old.Verify(t.Context(), []byte("m"), code), provider.ErrInvalid)
	s.destroy(t, first.KID, 1, 1)
	_, err = old.Sum(t.Context(), []byte("m"))
	require.ErrorIs(t, err, provider.ErrNotFound)
}
