package mirror

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

func TestWindowsThatWouldBreakVerifiersAreRefused(t *testing.T) {
	verifiers := Verifiers{Cache: 5 * time.Minute, Lifetime: time.Hour, Skew: time.Minute}
	tests := []struct {
		name    string
		windows provider.Windows
		want    string // empty: they are taken
	}{
		{"they cover everything", provider.Windows{PublishBefore: 6 * time.Minute, RetireAfter: 66 * time.Minute}, ""},
		{"a new key signs before every verifier has it", provider.Windows{PublishBefore: 5 * time.Minute, RetireAfter: 66 * time.Minute},
			"invalid: publish before 5m0s: want at least 6m0s = verifiers' cache 5m0s + clock skew 1m0s, or verifiers meet signatures of a key that they have not seen"},
		{"an old key goes before what it signed", provider.Windows{PublishBefore: 6 * time.Minute, RetireAfter: 65 * time.Minute},
			"invalid: retire after 1h5m0s: want at least 1h6m0s = lifetime 1h0m0s + verifiers' cache 5m0s + clock skew 1m0s, or what was signed last stops verifying too early"},
	}
	r := newRig(t, Config{Verifiers: verifiers})
	r.create(provider.KeySpec{KID: "k"})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := New(providertest.NewFake(t), providertest.NewFake(t), Config{Verifiers: verifiers, Windows: &tt.windows})
			_, rerr := r.RotateKey(t.Context(), "k", provider.Rotation{Windows: &tt.windows})
			if tt.want == "" {
				require.NoError(t, err)
				require.NoError(t, m.Close())
				require.NoError(t, rerr)
				return
			}
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.EqualError(t, err, tt.want)
			require.ErrorIs(t, rerr, provider.ErrInvalid)
			require.EqualError(t, rerr, tt.want)
		})
	}
	require.Equal(t, []string{"k.1", "k.2"}, r.copies(), "nothing was made where the windows were refused")
	_, err := r.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(t, err, "a compromise is no time to spare verifiers")
	for _, negative := range []Verifiers{{Cache: -1}, {Lifetime: -1}, {Skew: -1}} {
		_, err = New(providertest.NewFake(t), providertest.NewFake(t), Config{Verifiers: negative})
		require.ErrorIs(t, err, provider.ErrInvalid)
		require.ErrorContains(t, err, "no negative duration")
	}
}

// Windows of the configuration stand in for a rotation's own; zero ones give the latest version only, as the original did.
func TestConfiguredWindows(t *testing.T) {
	r := newRig(t, Config{Windows: &provider.Windows{}})
	r.create(provider.KeySpec{KID: "k"})
	_, err := r.RotateKey(t.Context(), "k", provider.Rotation{})
	require.NoError(t, err)
	kids, _ := r.jwks("")
	require.Equal(t, []string{"k.2"}, kids)
	r.primary.Unplug()
	kids, _ = r.jwks("")
	require.Equal(t, []string{"k.2"}, kids)
}

func TestConfigurationsThatMakeNoSense(t *testing.T) {
	for name, cfg := range map[string]Config{
		"a pin that is no thumbprint":                {ManifestDir: "x", Pin: "short"},
		"a pin and nothing to hold against it":       {Pin: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		"refused before it is stale":                 {StaleAfter: 3 * time.Hour, RefuseAfter: 2 * time.Hour},
		"refused before the next manifest is signed": {StaleAfter: time.Minute, RefuseAfter: time.Hour, ReconcileEvery: time.Hour},
		"a memory where an attacker can change it":   {ManifestDir: "x", StateDir: "./x/own"},
		"a memory beside what it is to remember":     {ManifestDir: "x/", StateDir: "x"},
		"a time between passes that is below 0":      {ReconcileEvery: -time.Hour},
	} {
		_, err := New(providertest.NewFake(t), providertest.NewFake(t), cfg)
		require.ErrorIs(t, err, provider.ErrInvalid, name)
	}
}
