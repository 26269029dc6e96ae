package providertest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// The windows of the tests; none of them ends while a test runs.
var (
	atOnce       = &provider.Windows{}
	overlapping  = &provider.Windows{RetireAfter: time.Hour}
	twoDaysAhead = &provider.Windows{PublishBefore: 48 * time.Hour, RetireAfter: 72 * time.Hour}
)

func (s *suite) testLifecycle(t *testing.T) {
	type version struct {
		state     provider.State
		published bool
	}
	type plan []*provider.Windows
	pending, active := version{provider.Pending, true}, version{provider.Active, true}
	retiring, retired := version{provider.Retiring, true}, version{provider.Retired, false}
	tests := []struct {
		name      string
		rotations plan
		destroy   int // a version, 0: none
		want      map[int]version
		signs     int // the version that Signer gives for 0
	}{
		{"a new key signs at once", nil, 0, map[int]version{1: active}, 1},
		{"a rotation publishes before it signs", plan{nil}, 0, map[int]version{1: active, 2: pending}, 1},
		{"a rotation now retires the old version", plan{atOnce}, 0, map[int]version{1: retired, 2: active}, 2},
		{"a rotation may leave the old version published", plan{overlapping}, 0, map[int]version{1: retiring, 2: active}, 2},
		{"a rotation now overtakes a pending one", plan{twoDaysAhead, atOnce}, 0, map[int]version{1: retired, 2: retired, 3: active}, 3},
		{"two rotations may be pending", plan{nil, twoDaysAhead}, 0, map[int]version{1: active, 2: pending, 3: pending}, 1},
		{"the earliest end counts", plan{overlapping, atOnce}, 0, map[int]version{1: retired, 2: retired, 3: active}, 3},
		{"destroying the newest does not bring a retired one back", plan{atOnce}, 2, map[int]version{1: retired}, 0},
		{"destroying the newest does not make a retiring one sign", plan{overlapping}, 2, map[int]version{1: retiring}, 0},
		{"destroying a pending one leaves the active one", plan{nil}, 2, map[int]version{1: active}, 1},
		{"destroying the active one does not hurry a pending one", plan{nil}, 1, map[int]version{2: pending}, 0},
		{"no retired one comes back", plan{atOnce, atOnce}, 3, map[int]version{1: retired, 2: retired}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kid := s.create(t, provider.KeySpec{Alg: s.quick(t)}).KID
			for i, w := range tt.rotations {
				ref := s.rotate(t, kid, provider.Rotation{Windows: w})
				require.Equal(t, i+2, ref.Version)
			}
			if tt.destroy != 0 {
				s.destroy(t, kid, tt.destroy, tt.destroy)
			}
			for n, want := range tt.want {
				s.inState(t, kid, n, want.state, want.published)
			}
			s.signsWith(t, kid, tt.signs)
		})
	}
}

// inState checks the state of a version in every answer, and whether JWKS has it. Every version that is there stays
// readable by its number.
func (s *suite) inState(t *testing.T, kid string, version int, want provider.State, published bool) {
	t.Helper()
	ref, err := s.p.GetKey(t.Context(), kid, version)
	require.NoError(t, err)
	require.Equal(t, want, ref.State, "version %d", version)
	all, err := s.p.ListVersions(t.Context(), kid)
	require.NoError(t, err)
	for _, r := range all.Keys {
		if r.Version == version {
			require.Equal(t, want, r.State)
		}
	}
	jwk, err := s.p.PublicJWK(t.Context(), kid, version)
	require.NoError(t, err, "a version stays readable by its number")
	require.Equal(t, ref.Fingerprint, jwk.Thumbprint())
	set, err := s.p.JWKS(t.Context(), kid)
	require.NoError(t, err)
	_, found := set.Key(ref.JWKKID())
	require.Equal(t, published, found, "version %d, %s, in JWKS %v", version, want, jwkKIDs(set))
}

// signsWith checks which version signs when none is named; 0: none.
func (s *suite) signsWith(t *testing.T, kid string, version int) {
	t.Helper()
	p, ok := s.p.(provider.Signing)
	if !ok {
		return
	}
	signer, err := p.Signer(t.Context(), kid, 0)
	if version == 0 {
		require.ErrorIs(t, err, provider.ErrNotFound, "no version is active")
		return
	}
	require.NoError(t, err)
	require.Equal(t, version, signer.KeyRef().Version)
	require.Equal(t, provider.Active, signer.KeyRef().State)
}

// testOverDays lets the schedule run, in a bubble where days take no time.
func (s *suite) testOverDays(t *testing.T) {
	inBubble := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s.use(t)
				test(t)
			})
		})
	}
	inBubble("a rotation comes into force by itself", func(t *testing.T) {
		kid := s.create(t, provider.KeySpec{Alg: s.quick(t)}).KID
		s.rotate(t, kid, provider.Rotation{})
		time.Sleep(10*time.Minute + time.Second)
		s.inState(t, kid, 1, provider.Retiring, true)
		s.inState(t, kid, 2, provider.Active, true)
		s.signsWith(t, kid, 2)
		time.Sleep(24 * time.Hour)
		s.inState(t, kid, 1, provider.Retired, false)
		s.inState(t, kid, 2, provider.Active, true)
	})
	inBubble("a signer stays bound to its version", func(t *testing.T) {
		ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
		ref.Version = 0
		signer := s.signer(t, ref)
		s.rotate(t, ref.KID, provider.Rotation{})
		time.Sleep(time.Hour)
		require.Equal(t, 1, signer.KeyRef().Version)
		ref.Version = 1
		s.works(t, ref, outsider{public: s.publicKey(t, ref)})
	})
	inBubble("a pending version that was destroyed never takes over", func(t *testing.T) {
		kid := s.create(t, provider.KeySpec{Alg: s.quick(t)}).KID
		s.rotate(t, kid, provider.Rotation{})
		s.destroy(t, kid, 2, 2)
		time.Sleep(72 * time.Hour)
		s.inState(t, kid, 1, provider.Active, true)
		s.signsWith(t, kid, 1)
	})
	inBubble("a retiring version goes in time though its successor is destroyed", func(t *testing.T) {
		kid := s.create(t, provider.KeySpec{Alg: s.quick(t)}).KID
		s.rotate(t, kid, provider.Rotation{Windows: overlapping})
		s.destroy(t, kid, 2, 2)
		s.inState(t, kid, 1, provider.Retiring, true)
		time.Sleep(time.Hour + time.Second)
		s.inState(t, kid, 1, provider.Retired, false)
	})
}
