//go:build cgo

package hsm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// Tokens of the tests: one that all share, two with one label, one for what changes the whole token, one that is used through a
// module that fails on demand, one that is treated like a smart card behind OpenSC, and one for the contract, which takes longer with
// each key that others leave.
const (
	sharedToken   = "shared"
	twinToken     = "twin"
	otherToken    = "other"
	faultToken    = "faulty"
	cardToken     = "card"
	contractToken = "contract"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(softhsmtest.Main(m, sharedToken, twinToken, twinToken, otherToken, faultToken, cardToken, contractToken))
}

// configFor returns a configuration for the token with a label.
func configFor(t testing.TB, label string) Config {
	t.Helper()
	token := softhsmtest.Token(t, label)
	return Config{
		Module: softhsmtest.Get(t).Module, Label: label, PIN: token.PINSource(),
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)), pace: quick,
	}
}

// quick is the pace of the tests: they wait for a token that comes back.
var quick = pace{firstRetry: 50 * time.Millisecond, steady: time.Hour, lastRetry: 500 * time.Millisecond, lockedOut: 50 * time.Millisecond, probe: 2 * time.Second}

// open opens the token with a label, and closes it at the end of the test.
func open(t testing.TB, label string) *Token {
	t.Helper()
	token, err := Open(context.Background(), configFor(t, label))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	return token
}

// testWriter shows log records with the test that they belong to.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// takeAway removes the token's storage, and puts it back at the end of the test at the latest.
func takeAway(t testing.TB) *softhsm.HSM {
	t.Helper()
	h := softhsmtest.Get(t)
	require.NoError(t, h.Remove())
	t.Cleanup(func() {
		if h.Removed() {
			require.NoError(t, h.Restore())
		}
	})
	return h
}

func TestSecondHandleSeesTheSameKeys(t *testing.T) {
	ctx := context.Background()
	a, b := open(t, sharedToken), open(t, sharedToken)
	made, err := a.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	seen, err := b.GetKey(ctx, made.KID, 0)
	require.NoError(t, err)
	require.Equal(t, made.Fingerprint, seen.Fingerprint)
}

func TestTokenTakenAwayAndPutBack(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	signer, err := token.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)
	message := []byte("message")
	sign := func() ([]byte, error) { return signer.SignContext(ctx, ref.Alg.Digest(message), ref.Alg.SignerOpts()) }
	_, err = sign()
	require.NoError(t, err)

	h := takeAway(t)
	_, err = sign()
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.Eventually(t, func() bool {
		_, err := token.PublicJWK(ctx, ref.KID, 1)
		return provider.IsOutage(err)
	}, recovery, time.Millisecond, "reads fail fast once the outage is known")
	require.NoError(t, h.Restore())

	require.Eventually(t, func() bool {
		_, err := sign()
		return err == nil
	}, recovery, 50*time.Millisecond, "the signer signs again by itself")
	jwk, err := token.PublicJWK(ctx, ref.KID, 1)
	require.NoError(t, err)
	signature, err := sign()
	require.NoError(t, err)
	require.NoError(t, jwk.Verify(message, signature))
}

func TestATokenIsPrintedByItsName(t *testing.T) {
	token, err := New(configFor(t, sharedToken))
	require.NoError(t, err)
	defer func() { require.NoError(t, token.Close()) }()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		require.Equal(t, `hsm.Token("shared")`, fmt.Sprintf(verb, token))
	}
}
