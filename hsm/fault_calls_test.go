//go:build cgo && unix

package hsm

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/provider"
)

// free is what an operation costs that asks nothing of the token.
var free = faultmodule.Calls{}

func TestASignatureIsOneSignInitAndOneSign(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, nil)
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.ECDSAP384SHA384, provider.Ed25519, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256} {
		t.Run(string(alg), func(t *testing.T) {
			ref, err := f.CreateKey(ctx, provider.KeySpec{Alg: alg, Bits: least(alg)})
			require.NoError(t, err)
			signer, err := f.Signer(ctx, ref.KID, 0)
			require.NoError(t, err)
			calls := f.m.During(func() {
				_, err := signer.SignContext(ctx, alg.Digest([]byte("message")), alg.SignerOpts())
				require.NoError(t, err)
			})
			require.Equal(t, faultmodule.Calls{"C_SignInit": 1, "C_Sign": 1}, calls)
		})
	}
}

// least is the size of the smallest keys of an algorithm.
func least(alg provider.KeyAlg) int {
	bits, _, _ := alg.Bits()
	return bits
}

func TestWhatIsKnownCostsNoCall(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, nil)
	var ref provider.KeyRef
	for range 20 {
		var err error
		ref, err = f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
		require.NoError(t, err)
	}
	_, err := f.JWKS(ctx, "")
	require.NoError(t, err)
	for _, tt := range []struct {
		name string
		read func() error
	}{
		{"PublicJWK", func() error { _, err := f.PublicJWK(ctx, ref.KID, 1); return err }},
		{"the latest PublicJWK", func() error { _, err := f.PublicJWK(ctx, ref.KID, 0); return err }},
		{"JWKS", func() error { _, err := f.JWKS(ctx, ""); return err }},
		{"GetKey", func() error { _, err := f.GetKey(ctx, ref.KID, 0); return err }},
		{"ListKeys", func() error { _, err := f.ListKeys(ctx); return err }},
		{"ListVersions", func() error { _, err := f.ListVersions(ctx, ref.KID); return err }},
		{"Signer", func() error { _, err := f.Signer(ctx, ref.KID, 0); return err }},
		{"Capabilities", func() error { _, err := f.Capabilities(ctx); return err }},
		{"Info", func() error { _, err := f.Info(ctx); return err }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := f.m.During(func() {
				for range 100 {
					require.NoError(t, tt.read())
				}
			})
			require.Equal(t, free, calls)
		})
	}
}

func TestAConnectionLogsInOnce(t *testing.T) {
	f := newFaulty(t, nil)
	calls := f.m.During(func() {
		for range 10 {
			require.NoError(t, f.Health(context.Background()))
		}
	})
	require.Equal(t, 1, calls["C_Login"])
	require.LessOrEqual(t, f.m.MostSessions(), 3, "one for the login, one for the operations, one of crypto11")
}

func TestAPoolOpensNoMoreSessionsThanItMay(t *testing.T) {
	f := openFaulty(t, func(c *Config) { c.Sessions = 4 })
	u := newUser(t, f.Token)
	errs := make(chan error, 64)
	for range cap(errs) {
		go func() { errs <- u.sign(context.Background()) }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.LessOrEqual(t, f.m.MostSessions(), 4+3, "the pool's, one for the login, two of crypto11")
	require.LessOrEqual(t, f.m.MostInside(), 4)
}
