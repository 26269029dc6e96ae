package mirror

import (
	"context"
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

func TestConformanceOverFakes(t *testing.T) {
	for _, mode := range []Mode{PublicOnly, None} { // Full is below
		t.Run(string(mode), func(t *testing.T) {
			providertest.Run(t, func(t *testing.T) provider.Provider {
				return joined(t, providertest.NewFake(t), providertest.NewFake(t), Config{Mode: mode, StateDir: t.TempDir()})
			}, providertest.FakeClock())
		})
	}
}

func TestConformanceWithASecondaryOfOwnNames(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		return joined(t, providertest.NewFake(t), providertest.NewFake(t).Plain(), Config{Mode: Full, StateDir: t.TempDir()})
	}, providertest.FakeClock())
}

func TestConformanceOfAMirrorThatIsOpenedAgain(t *testing.T) {
	primary, secondary, state := providertest.NewFake(t), providertest.NewFake(t), t.TempDir()
	t.Cleanup(func() { primary.Close(); secondary.Close() })
	providertest.Run(t, func(t *testing.T) provider.Provider {
		return joined(t, primary.Reopen(), secondary.Reopen(), Config{StateDir: state})
	}, providertest.SameStore())
}

func TestConformanceOverKeystores(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		dir := t.TempDir()
		return joined(t, keystore(t, dir+"/primary", true), keystore(t, dir+"/secondary", false), Config{StateDir: dir + "/state"})
	})
}

func TestConformanceOfAMirrorOfMirrors(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		pair := func() provider.Provider {
			return joined(t, providertest.NewFake(t), providertest.NewFake(t), Config{StateDir: t.TempDir()})
		}
		return joined(t, pair(), pair(), Config{StateDir: t.TempDir()})
	}, providertest.FakeClock())
}
