package providertest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testCapabilities(t *testing.T) {
	t.Run("the store has a name and makes some key", func(t *testing.T) {
		require.NotEmpty(t, s.caps.Store)
		require.NotEmpty(t, s.algs(creates))
	})
	t.Run("each algorithm is of the contract and named once", func(t *testing.T) {
		seen := map[provider.KeyAlg]bool{}
		for _, a := range s.caps.Algs {
			require.NoError(t, a.Alg.Validate())
			require.False(t, seen[a.Alg], a.Alg)
			seen[a.Alg] = true
		}
	})
	t.Run("an algorithm of which it can do nothing says what is missing", func(t *testing.T) {
		for _, a := range s.caps.Algs {
			if !a.Create && !a.Import && !a.Use {
				require.NotEmpty(t, a.Missing, a.Alg)
			}
		}
	})
	t.Run("sizes lie within those of the algorithm", s.testCapabilitySizes)
	t.Run("what it can do has the interface for it", s.testCapabilityInterfaces)
	t.Run("features are named once", func(t *testing.T) {
		seen := map[provider.Feature]bool{}
		for _, f := range s.caps.Features {
			require.False(t, seen[f], f)
			seen[f] = true
		}
	})
	t.Run("the caller owns the answer", func(t *testing.T) {
		got, err := s.p.Capabilities(t.Context())
		require.NoError(t, err)
		clear(got.Algs)
		clear(got.Features)
		again, err := s.p.Capabilities(t.Context())
		require.NoError(t, err)
		require.Equal(t, s.caps, again)
	})
	t.Run("what it can't create it refuses", s.testCannotCreate)
}

func (s *suite) testCapabilitySizes(t *testing.T) {
	for _, a := range s.caps.Algs {
		least, _, most := a.Alg.Bits()
		if !a.Create {
			require.Zero(t, a.MinBits, a.Alg)
			require.Zero(t, a.MaxBits, a.Alg)
			continue
		}
		require.LessOrEqual(t, least, a.MinBits, a.Alg)
		require.LessOrEqual(t, a.MinBits, a.MaxBits, a.Alg)
		require.LessOrEqual(t, a.MaxBits, most, a.Alg)
	}
}

func (s *suite) testCapabilityInterfaces(t *testing.T) {
	_, signing := s.p.(provider.Signing)
	_, decrypting := s.p.(provider.Decrypting)
	_, encrypting := s.p.(provider.Encrypting)
	_, authenticating := s.p.(provider.Authenticating)
	_, agreeing := s.p.(provider.KeyAgreement)
	_, exporting := s.p.(provider.Exporting)
	_, replica := s.p.(provider.Replica)
	for _, alg := range s.algs(uses) {
		switch {
		case alg.Signs():
			require.True(t, signing, alg)
		case alg == provider.RSAOAEPSHA256:
			require.True(t, decrypting, alg)
		case alg == provider.AES256GCM:
			require.True(t, encrypting, alg)
		case alg == provider.HMACSHA256:
			require.True(t, authenticating, alg)
		case alg == provider.X25519:
			require.True(t, agreeing, alg)
		}
	}
	require.True(t, exporting || !s.caps.Has(provider.FeatureExport))
	require.True(t, replica || !s.caps.Has(provider.FeatureReplica))
}

func (s *suite) testCannotCreate(t *testing.T) {
	for _, alg := range provider.Algs() {
		if s.caps.Alg(alg).Create {
			continue
		}
		t.Run(string(alg), func(t *testing.T) {
			kid := s.kid(t)
			_, err := s.p.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg})
			s.unsupported(t, alg, err)
			s.nothingUnder(t, kid)
		})
	}
}
