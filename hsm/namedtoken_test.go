//go:build cgo

package hsm

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// testTokenEnv names the environment variable with the pkcs11: URI of a token on which the tests of this file make and destroy keys.
const testTokenEnv = "HSMMIRROR_TEST_TOKEN"

// foundConf is where a SoftHSM2 that the environment names has its configuration, before TestMain points the process at another.
var foundConf, hasConf = os.LookupEnv(softhsm.ConfEnv)

// namedToken returns the configuration of the token that the environment names.
func namedToken(t *testing.T) Config {
	t.Helper()
	uri := os.Getenv(testTokenEnv)
	if uri == "" {
		t.Skipf("missing capability: a token named by %s", testTokenEnv)
	}
	t.Setenv(softhsm.ConfEnv, foundConf)
	if !hasConf {
		require.NoError(t, os.Unsetenv(softhsm.ConfEnv))
	}
	cfg, err := ConfigFromURI(uri)
	require.NoError(t, err)
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	return cfg
}

func TestTheNamedTokenKeepsTheContract(t *testing.T) {
	cfg := namedToken(t)
	providertest.Run(t, func(t *testing.T) provider.Provider {
		token, err := Open(context.Background(), cfg)
		require.NoError(t, err)
		return token
	}, providertest.SameStore())
}
