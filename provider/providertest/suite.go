package providertest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// suite is one run over one store.
type suite struct {
	open      func(t *testing.T) provider.Provider
	sameStore bool
	fakeClock bool
	uri       func(provider.KeyRef) string

	prefix string // of every kid
	kids   int    // handed out

	// With one handle:
	group *testing.T // the test that lasts as long as p
	p     provider.Provider
	caps  provider.Capabilities
	keys  map[provider.KeyAlg]provider.KeyRef // shared, made by key, not to be changed
}

// use opens the handle that the tests below t share.
func (s *suite) use(t *testing.T) {
	p := s.open(t)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	caps, err := p.Capabilities(t.Context())
	require.NoError(t, err)
	s.group, s.p, s.caps, s.keys = t, p, caps, map[provider.KeyAlg]provider.KeyRef{}
}

// kid returns a name that nobody else has, and destroys what is under it when t ends.
func (s *suite) kid(t *testing.T) string {
	s.kids++
	kid := s.prefix + strconv.Itoa(s.kids)
	s.destroyAfter(t, kid)
	return kid
}

func (s *suite) destroyAfter(t *testing.T, kid string) {
	p := s.p
	t.Cleanup(func() {
		_, err := p.DestroyKey(context.WithoutCancel(t.Context()), kid, provider.AllVersions)
		if err != nil && !errors.Is(err, provider.ErrClosed) { // what a closed handle made, sweep destroys
			require.ErrorIs(t, err, provider.ErrNotFound)
		}
	})
}

// sweep destroys what is left of this run.
func (s *suite) sweep(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	p := s.open(t)
	defer func() { require.NoError(t, p.Close()) }()
	list, err := p.ListKeys(ctx)
	require.NoError(t, err)
	for _, ref := range list.Keys {
		if strings.HasPrefix(ref.KID, s.prefix) {
			_, err := p.DestroyKey(ctx, ref.KID, provider.AllVersions)
			require.NoError(t, err)
		}
	}
}

// create makes a key that lasts as long as t. Of an empty kid it makes one of ours.
func (s *suite) create(t *testing.T, spec provider.KeySpec) provider.KeyRef {
	t.Helper()
	if spec.KID == "" {
		spec.KID = s.kid(t)
	}
	if spec.Bits == 0 && spec.Alg.KeyType() == "RSA" {
		spec.Bits = s.rsaBits(spec.Alg)
	}
	ref, err := s.p.CreateKey(t.Context(), spec)
	require.NoError(t, err)
	return ref
}

// rsaBits is the size that is quickest to make.
func (s *suite) rsaBits(alg provider.KeyAlg) int {
	return max(provider.MinRSABits, s.caps.Alg(alg).MinBits)
}

// rotate makes the next version.
func (s *suite) rotate(t *testing.T, kid string, r provider.Rotation) provider.KeyRef {
	t.Helper()
	ref, err := s.p.RotateKey(t.Context(), kid, r)
	require.NoError(t, err)
	return ref
}

// key returns the key of alg that all tests share.
func (s *suite) key(t *testing.T, alg provider.KeyAlg) provider.KeyRef {
	t.Helper()
	if ref, ok := s.keys[alg]; ok {
		return ref
	}
	ref := s.create(t, provider.KeySpec{KID: s.kid(s.group), Alg: alg})
	s.keys[alg] = ref
	return ref
}

// algs returns the algorithms of the store that fit.
func (s *suite) algs(fits ...func(provider.AlgSupport) bool) (algs []provider.KeyAlg) {
	for _, alg := range provider.Algs() {
		support := s.caps.Alg(alg)
		if !slices.ContainsFunc(fits, func(fit func(provider.AlgSupport) bool) bool { return !fit(support) }) {
			algs = append(algs, alg)
		}
	}
	return algs
}

func creates(a provider.AlgSupport) bool  { return a.Create }
func imports(a provider.AlgSupport) bool  { return a.Import }
func uses(a provider.AlgSupport) bool     { return a.Use }
func signs(a provider.AlgSupport) bool    { return a.Alg.Signs() }
func isPublic(a provider.AlgSupport) bool { return a.Alg.Class() == provider.Asymmetric }

// quick returns the algorithm of a pair that is quickly made, for tests to which the algorithm does not matter.
func (s *suite) quick(t *testing.T) provider.KeyAlg {
	t.Helper()
	algs := s.algs(creates, signs)
	for _, alg := range append([]provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519}, algs...) {
		if slices.Contains(algs, alg) {
			return alg
		}
	}
	t.Skip("the store makes no signing key")
	return ""
}

// has skips the test if the store can't do what alg is needed for.
func (s *suite) has(t *testing.T, alg provider.KeyAlg, needs ...func(provider.AlgSupport) bool) {
	t.Helper()
	if !slices.Contains(s.algs(needs...), alg) {
		t.Skipf("the store lacks %s: %+v", alg, s.caps.Alg(alg))
	}
}

// unsupported checks the error of what the store said that it can't do.
func (s *suite) unsupported(t *testing.T, alg provider.KeyAlg, err error) {
	t.Helper()
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, s.caps.Alg(alg).Missing, "names what is missing")
}

// optional returns the store's optional interface, or skips the test.
func optional[T any](t *testing.T, p provider.Provider, name string) T {
	t.Helper()
	o, ok := p.(T)
	if !ok {
		t.Skipf("the store does not satisfy provider.%s", name)
	}
	return o
}
