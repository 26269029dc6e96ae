package providertest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testClose(t *testing.T) {
	t.Run("every method is ErrClosed, and every object", s.testUseAfterClose)
	t.Run("closing twice is no error", func(t *testing.T) {
		p := s.open(t)
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
	})
	t.Run("what was answered before stays readable", s.testAnswersOutliveClose)
}

func (s *suite) testUseAfterClose(t *testing.T) {
	s.use(t)
	calls := s.everyCall(t, s.create(t, provider.KeySpec{Alg: s.quick(t)}), s.kid(t))
	withContext, without := s.objectCalls(t)
	require.NoError(t, s.p.Close())
	for _, call := range slices.Concat(calls, withContext, without) {
		t.Run(call.name, func(t *testing.T) {
			require.ErrorIs(t, call.do(t.Context()), provider.ErrClosed)
		})
	}
}

func (s *suite) testAnswersOutliveClose(t *testing.T) {
	s.use(t)
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	jwk, err := s.p.PublicJWK(t.Context(), ref.KID, 1)
	require.NoError(t, err)
	set, err := s.p.JWKS(t.Context(), ref.KID)
	require.NoError(t, err)
	require.NoError(t, s.p.Close())
	require.Equal(t, ref.Fingerprint, jwk.Thumbprint())
	require.JSONEq(t, `{"keys":[`+string(jwk.JSON())+`]}`, string(set.JSON()))
}

// testNextHandle checks that the store itself is the only memory.
func (s *suite) testNextHandle(t *testing.T) {
	var first, second, other provider.KeyRef
	kid := ""
	t.Run("makes keys", func(t *testing.T) {
		s.use(t)
		alg := s.quick(t)
		kid = s.prefix + "kept"
		first = s.create(t, provider.KeySpec{KID: kid, Alg: alg, Label: "kept", Tags: map[string]string{"a": "1"}})
		second = s.rotate(t, kid, provider.Rotation{})
		s.rotate(t, kid, provider.Rotation{})
		s.destroy(t, kid, 3, 3)
		other = s.create(t, provider.KeySpec{KID: s.prefix + "gone", Alg: alg})
		s.destroy(t, other.KID, 1, 1)
	})
	t.Run("finds them, uses them and goes on counting", func(t *testing.T) {
		s.use(t)
		s.destroyAfter(t, kid)
		s.destroyAfter(t, other.KID)
		s.holdsVersions(t, first, second)
		s.inState(t, kid, 1, provider.Active, true)
		s.inState(t, kid, 2, provider.Pending, true)
		s.works(t, first, outsider{public: s.publicKey(t, first)})
		s.nothingUnder(t, other.KID)
		require.Equal(t, 4, s.rotate(t, kid, provider.Rotation{}).Version, "the number of the destroyed version is not given again")
		require.Equal(t, 2, s.create(t, provider.KeySpec{KID: other.KID, Alg: other.Alg}).Version)
	})
}
