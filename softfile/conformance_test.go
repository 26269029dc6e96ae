package softfile

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// quickly is a key derivation that costs nothing, for stores that are opened many times.
const quickly = minIterations

// passphrase is a source that gives text.
func passphrase(text string) provider.SecretSource {
	return func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte(text)), nil }
}

// opened opens the store in dir with the passphrase that all tests share, and closes it when t ends.
func opened(t *testing.T, dir string) *Store {
	t.Helper()
	return openedWith(t, Config{Dir: dir, Passphrase: passphrase("open sesame")})
}

func openedWith(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := open(context.WithoutCancel(t.Context()), cfg, nil, quickly) // also from a cleanup, where the context has ended
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestConformance(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider { return opened(t, t.TempDir()) }, providertest.FakeClock())
}

func TestConformanceOfAStoreThatIsOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	providertest.Run(t, func(t *testing.T) provider.Provider { return opened(t, dir) }, providertest.SameStore())
}
