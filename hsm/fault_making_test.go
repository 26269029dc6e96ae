//go:build cgo && unix

package hsm

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/provider"
)

// Each single call of the making of a key fails in turn. There is one key that works or none, and never two private halves under one
// CKA_ID.
func TestAKeyIsMadeOnceOrNotAtAll(t *testing.T) {
	for _, tt := range []struct {
		name      string
		functions []string // of which each call fails; nil: all
		fail      func(faultmodule.Plan) *faultmodule.Fault
	}{
		{"the session is gone", []string{"C_OpenSession", "C_GenerateKeyPair", "C_GetAttributeValue", "C_CreateObject", "C_DestroyObject", "C_SignInit", "C_Sign"},
			func(p faultmodule.Plan) *faultmodule.Fault { return p.Fail(0xB3) }},
		{"the token errs", []string{"C_GenerateKeyPair", "C_GetAttributeValue", "C_CreateObject", "C_DestroyObject", "C_SignInit", "C_Sign"},
			func(p faultmodule.Plan) *faultmodule.Fault { return p.Fail(0x30) }},
		{"the login is gone", []string{"C_GenerateKeyPair", "C_CreateObject", "C_DestroyObject", "C_SignInit", "C_Sign"},
			func(p faultmodule.Plan) *faultmodule.Fault { return p.Fail(0x101) }},
		{"the answer is lost", []string{"C_GenerateKeyPair", "C_CreateObject", "C_DestroyObject", "C_SignInit", "C_Sign"},
			func(p faultmodule.Plan) *faultmodule.Fault { return p.Lose(0x30) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			f := openFaulty(t, nil)
			for n := 0; ; n += 1 + n/10 { // the later ones are much alike
				fault := tt.fail(f.m.On(tt.functions...).After(n).Times(1))
				kid := provider.NewKID()
				_, err := f.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
				hit := fault.Hits() > 0
				fault.Stop()
				if err != nil {
					require.ErrorIs(t, err, provider.ErrUnavailable, "call %d", n)
				}
				comesBack(t, f.Health)
				isOneKeyOrNone(t, f.Token, kid, err == nil)
				if !hit {
					require.Greater(t, n, len(tt.functions))
					return
				}
			}
		})
	}
}

// isOneKeyOrNone looks at what stands on the token under a kid, and destroys it. made tells that it must be there.
func isOneKeyOrNone(t *testing.T, token *Token, kid string, made bool) {
	t.Helper()
	ctx := context.Background()
	private := 0
	for _, o := range objectsOf(t, token, kid) {
		if o.Class == "CKO_PRIVATE_KEY" {
			private++
		}
	}
	require.LessOrEqual(t, private, 1)
	signer, err := token.Signer(ctx, kid, 0)
	if !made && err != nil {
		require.ErrorIs(t, err, provider.ErrNotFound)
		return
	}
	require.NoError(t, err)
	alg := signer.KeyRef().Alg
	_, err = signer.SignContext(ctx, alg.Digest(nil), alg.SignerOpts())
	require.NoError(t, err)
	_, err = token.DestroyKey(ctx, kid, provider.AllVersions)
	require.NoError(t, err)
}

// FreeHSM keeps 63 bytes of a label, and says nothing of it.
func TestATokenThatShortensLabelsIsRefusedWhatItCannotName(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, nil)
	f.m.SetLabelLimit(20)
	_, err := f.CreateKey(ctx, provider.KeySpec{KID: "a-kid-of-21-character", Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, `want a token that keeps a label of 21 bytes: this one made "a-kid-of-21-characte" of it`)
	_, err = f.GetKey(ctx, "a-kid-of-21-characte", 0)
	require.ErrorIs(t, err, provider.ErrNotFound, "nothing is left of it")
	ref, err := f.CreateKey(ctx, provider.KeySpec{KID: "a-kid-of-20-characte", Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	requireGoodSignature(t, f.Token, ref)
	_, err = f.DestroyKey(ctx, ref.KID, provider.AllVersions)
	require.NoError(t, err)
}
