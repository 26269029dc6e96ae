package providertest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// crowd is how many goroutines call at once.
const crowd = 8

func (s *suite) testConcurrency(t *testing.T) {
	t.Run("rotations of one key lose no version and give no number twice", s.testConcurrentRotations)
	t.Run("of many who create one kid one succeeds", s.testConcurrentCreates)
	t.Run("of many who destroy one version one succeeds", s.testConcurrentDestroys)
	t.Run("keys that come and go do not disturb each other", s.testConcurrentLives)
	t.Run("signatures and reads go on while keys are rotated", s.testSignWhileRotating)
}

// inCrowd runs do in a crowd of goroutines that start together, and returns their errors.
func inCrowd(do func(i int) error) []error {
	errs := make([]error, crowd)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func (s *suite) testConcurrentRotations(t *testing.T) {
	const each = 3
	kid := s.create(t, provider.KeySpec{Alg: s.quick(t)}).KID
	made := make([][]provider.KeyRef, crowd)
	for _, err := range inCrowd(func(i int) error {
		for range each {
			ref, err := s.p.RotateKey(t.Context(), kid, provider.Rotation{})
			if err != nil {
				return err
			}
			made[i] = append(made[i], ref)
		}
		return nil
	}) {
		require.NoError(t, err)
	}
	all, err := s.p.ListVersions(t.Context(), kid)
	require.NoError(t, err)
	require.Len(t, all.Keys, crowd*each+1, "the original's defect F06: versions were lost")
	byVersion := map[int]string{}
	for _, ref := range all.Keys {
		byVersion[ref.Version] = ref.Fingerprint
	}
	require.Len(t, byVersion, crowd*each+1)
	for _, ref := range slices.Concat(made...) {
		require.Equal(t, ref.Fingerprint, byVersion[ref.Version], "version %d is the key that its maker got", ref.Version)
	}
}

func (s *suite) testConcurrentCreates(t *testing.T) {
	spec := provider.KeySpec{KID: s.kid(t), Alg: s.quick(t)}
	refs := make([]provider.KeyRef, crowd)
	errs := inCrowd(func(i int) (err error) {
		refs[i], err = s.p.CreateKey(t.Context(), spec)
		return err
	})
	winner := oneSucceeded(t, errs, provider.ErrExists)
	s.answersAlike(t, refs[winner])
}

func (s *suite) testConcurrentDestroys(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	second := s.rotate(t, first.KID, provider.Rotation{})
	oneSucceeded(t, inCrowd(func(int) error {
		_, err := s.p.DestroyKey(t.Context(), first.KID, 1)
		return err
	}), provider.ErrNotFound)
	s.holdsVersions(t, second)
}

// oneSucceeded checks that all others got want, and returns the one.
func oneSucceeded(t *testing.T, errs []error, want error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, want)
			continue
		}
		require.Equal(t, -1, winner, "two succeeded")
		winner = i
	}
	require.NotEqual(t, -1, winner, "nobody succeeded")
	return winner
}

func (s *suite) testConcurrentLives(t *testing.T) {
	alg := s.quick(t)
	kids := make([]string, crowd)
	for i := range kids {
		kids[i] = s.kid(t)
	}
	live := func(i int) error {
		for round := range 2 {
			ref, err := s.p.CreateKey(t.Context(), provider.KeySpec{KID: kids[i], Alg: alg})
			if err != nil {
				return fmt.Errorf("round %d: create: %w", round, err)
			}
			if want := 2*round + 1; ref.Version != want {
				return fmt.Errorf("round %d: version %d, want %d", round, ref.Version, want)
			}
			if _, err = s.p.RotateKey(t.Context(), kids[i], provider.Rotation{}); err != nil {
				return fmt.Errorf("round %d: rotate: %w", round, err)
			}
			got, err := s.p.GetKey(t.Context(), kids[i], ref.Version)
			if err != nil || got.Fingerprint != ref.Fingerprint {
				return fmt.Errorf("round %d: get: not the key that was made: %w", round, err)
			}
			d, err := s.p.DestroyKey(t.Context(), kids[i], provider.AllVersions)
			if err != nil || len(d.Versions) != 2 {
				return fmt.Errorf("round %d: destroyed %v: %w", round, d.Versions, err)
			}
		}
		return nil
	}
	for _, err := range inCrowd(live) {
		require.NoError(t, err)
	}
	for _, kid := range kids {
		s.nothingUnder(t, kid)
	}
}

func (s *suite) testSignWhileRotating(t *testing.T) {
	if _, ok := s.p.(provider.Signing); !ok {
		t.Skip("the store does not satisfy provider.Signing")
	}
	kid := s.create(t, provider.KeySpec{Alg: s.quick(t)}).KID
	for _, err := range inCrowd(func(i int) error {
		for range 5 {
			if i == 0 {
				if _, err := s.p.RotateKey(t.Context(), kid, provider.Rotation{Windows: overlapping}); err != nil {
					return err
				}
			} else if err := s.signAndVerify(t, kid, i); err != nil {
				return err
			}
		}
		return nil
	}) {
		require.NoError(t, err)
	}
}

// signAndVerify signs with the active version, and verifies with the JWKS as a verifier would.
func (s *suite) signAndVerify(t *testing.T, kid string, i int) error {
	signer, err := s.p.(provider.Signing).Signer(t.Context(), kid, 0)
	if err != nil {
		return err
	}
	message := fmt.Appendf(nil, "message of %d", i)
	ref := signer.KeyRef()
	signature, err := signer.Sign(rand.Reader, ref.Alg.Digest(message), ref.Alg.SignerOpts())
	if err != nil {
		return err
	}
	set, err := s.p.JWKS(t.Context(), kid)
	if err != nil {
		return err
	}
	key, ok := set.Key(ref.JWKKID())
	if !ok {
		return errors.New("JWKS lacks the key that just signed: " + ref.JWKKID())
	}
	return key.Verify(message, signature)
}
