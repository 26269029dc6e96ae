package mirror

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// joined returns a Mirror, which closes its stores. Whoever opened it closes it.
func joined(t *testing.T, primary, secondary provider.Provider, cfg Config) *Mirror {
	t.Helper()
	m, err := New(primary, secondary, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// keystore opens the software keystore in dir, with private material if secret.
func keystore(t *testing.T, dir string, secret bool) *softfile.Store {
	t.Helper()
	cfg := softfile.Config{Dir: dir}
	if secret {
		cfg.Passphrase = func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte("open sesame")), nil }
	}
	s, err := softfile.Open(context.WithoutCancel(t.Context()), cfg)
	require.NoError(t, err)
	return s
}

// rsaAlgs are the algorithms whose keys take seconds to make under the race detector. The conformance tests leave them out, but
// for the one over a token, which makes them itself.
var rsaAlgs = []provider.KeyAlg{provider.RSAOAEPSHA256, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256}

// withoutRSA returns a fake that makes no RSA keys.
func withoutRSA(t *testing.T) *providertest.Fake {
	f := providertest.NewFake(t)
	f.Lack(rsaAlgs...)
	return f
}

// noRSA is a keystore that makes and takes no RSA keys.
type noRSA struct{ *softfile.Store }

func (n noRSA) Capabilities(ctx context.Context) (provider.Capabilities, error) {
	c, err := n.Store.Capabilities(ctx)
	for i, a := range c.Algs {
		if slices.Contains(rsaAlgs, a.Alg) {
			c.Algs[i] = provider.AlgSupport{Alg: a.Alg, Missing: "left out"}
		}
	}
	return c, err
}

func (n noRSA) CreateKey(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
	if slices.Contains(rsaAlgs, spec.Alg) {
		return provider.KeyRef{}, provider.Unsupportedf("left out")
	}
	return n.Store.CreateKey(ctx, spec)
}

func (n noRSA) ImportKey(ctx context.Context, spec provider.KeySpec, m provider.KeyMaterial) (provider.KeyRef, error) {
	if _, err := m.Parse(spec.Alg, spec.Bits); err == nil && slices.Contains(rsaAlgs, spec.Alg) {
		return provider.KeyRef{}, provider.Unsupportedf("left out")
	}
	return n.Store.ImportKey(ctx, spec, m)
}

func TestConformanceOverFakes(t *testing.T) {
	for _, mode := range []Mode{PublicOnly, None} { // Full is below
		t.Run(string(mode), func(t *testing.T) {
			providertest.Run(t, func(t *testing.T) provider.Provider {
				return joined(t, withoutRSA(t), providertest.NewFake(t), Config{Mode: mode, ManifestDir: tempDir(t)})
			}, providertest.FakeClock())
		})
	}
}

func TestConformanceWithASecondaryOfOwnNames(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		return joined(t, withoutRSA(t), providertest.NewFake(t).Plain(), Config{Mode: Full, ManifestDir: tempDir(t)})
	}, providertest.FakeClock())
}

func TestConformanceOfAMirrorThatIsOpenedAgain(t *testing.T) {
	primary, secondary, state := withoutRSA(t), providertest.NewFake(t), tempDir(t)
	t.Cleanup(func() { primary.Close(); secondary.Close() })
	providertest.Run(t, func(t *testing.T) provider.Provider {
		return joined(t, primary.Reopen(), secondary.Reopen(), Config{ManifestDir: state})
	}, providertest.SameStore())
}

func TestConformanceOverKeystores(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		dir := tempDir(t)
		return joined(t, noRSA{keystore(t, dir+"/primary", true)}, keystore(t, dir+"/secondary", false), Config{ManifestDir: dir + "/state"})
	})
}

func TestConformanceOfAMirrorOfMirrors(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		pair := func() provider.Provider {
			return joined(t, withoutRSA(t), providertest.NewFake(t), Config{ManifestDir: tempDir(t)})
		}
		return joined(t, pair(), pair(), Config{ManifestDir: tempDir(t)})
	}, providertest.FakeClock())
}
