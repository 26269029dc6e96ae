//go:build cgo

package hsm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

const nssPIN = "1234"

// requireModule returns the first file that matches one of the patterns. Without one the test is skipped, or fails where everything
// has to be installed.
func requireModule(t testing.TB, name string, patterns ...string) string {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		if len(found) > 0 {
			return found[0]
		}
	}
	if os.Getenv(softhsmtest.RequireEnv) != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("missing capability: %s", name)
	return ""
}

// softokn is the PKCS#11 module of NSS, the library of Firefox.
func softokn(t testing.TB) string {
	t.Helper()
	return requireModule(t, "NSS softokn", "/usr/lib*/libsoftokn3.so", "/usr/lib*/*/libsoftokn3.so", "/usr/lib*/*/nss/libsoftokn3.so")
}

// newNSS makes an NSS database and returns the configuration of the token on it.
func newNSS(t testing.TB) Config {
	t.Helper()
	module := softokn(t)
	requireProgram(t, "certutil")
	dir := t.TempDir()
	pin := filepath.Join(dir, "pin")
	require.NoError(t, os.WriteFile(pin, []byte(nssPIN), 0o600))
	out, err := exec.Command("certutil", "-N", "-d", "sql:"+dir, "-f", pin).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return Config{
		Module:   module,
		InitArgs: fmt.Sprintf("configDir='sql:%s' certPrefix='' keyPrefix='' secmod='' flags= dbTokenDescription='nss'", dir),
		Label:    "nss",
		PIN:      func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte(nssPIN)), nil },
		Logger:   slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
}

func TestAModuleThatNeedsArgumentsOpensWithThem(t *testing.T) {
	ctx := context.Background()
	cfg := newNSS(t)
	tokens := tokensOf(t, cfg.Module, cfg.InitArgs, "")
	require.Len(t, tokens, 2, "one for what needs no login, and the database")
	require.Equal(t, "nss", tokens[1].Label)
	first, err := Open(ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, first.Health(ctx))

	other := cfg
	other.InitArgs = "configDir='sql:/elsewhere'"
	_, err = Open(ctx, other)
	require.ErrorIs(t, err, provider.ErrInvalid, "a module has one state in a process")
	second, err := Open(ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.NoError(t, second.Health(ctx), "the module stays open for the other Token")
	require.NoError(t, second.Close())
	_, err = Open(ctx, other)
	require.False(t, err == nil, "it was closed with the last Token, and opens with other arguments")
	require.NotErrorIs(t, err, provider.ErrInvalid)
}

func openNSS(t testing.TB, cfg Config) *Token {
	t.Helper()
	token, err := Open(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	return token
}

func TestATokenWithoutDataObjectsKeepsRecordsInSecretKeys(t *testing.T) {
	ctx := context.Background()
	cfg := newNSS(t)
	token := openNSS(t, cfg)
	tags := map[string]string{"team": "payments"}
	first, err := token.CreateKey(ctx, provider.KeySpec{KID: "k", Alg: provider.ECDSAP256SHA256, Uses: []provider.KeyUse{provider.UseSign}, Label: "a label", Tags: tags})
	require.NoError(t, err)
	second, err := token.RotateKey(ctx, "k", provider.Rotation{})
	require.NoError(t, err)
	for _, ref := range []provider.KeyRef{first, second} {
		requireGoodSignature(t, token, ref)
	}
	for _, o := range objectsOf(t, token, "k") {
		require.Equal(t, StatusOurs, o.Status)
		require.NotEqual(t, "CKO_DATA", o.Class)
		if o.Class == "CKO_SECRET_KEY" {
			require.True(t, *o.Evidence.Sensitive)
			require.False(t, *o.Evidence.Extractable)
		}
	}
	require.Len(t, objectsOf(t, token, "k"), 6, "two pairs and their records")
	_, err = token.Adopt(ctx, Adoption{Label: "k"})
	require.ErrorIs(t, err, provider.ErrNotFound, "a record is no key")

	again := openNSS(t, cfg)
	list, err := again.ListVersions(ctx, "k")
	require.NoError(t, err)
	require.Empty(t, list.Problems)
	require.Len(t, list.Keys, 2)
	require.Equal(t, tags, list.Keys[0].Tags)
	require.Equal(t, "a label", list.Keys[0].Label)
	require.Equal(t, second.ActiveFrom, list.Keys[1].ActiveFrom)
	require.Equal(t, second.RetireAfter, list.Keys[1].RetireAfter)
	_, err = again.DestroyKey(ctx, "k", provider.AllVersions)
	require.NoError(t, err)
	third, err := again.CreateKey(ctx, provider.KeySpec{KID: "k", Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.Equal(t, 3, third.Version, "a number is never given again")
}

func TestNSSMakesWhatItCanAndRefusesTheRest(t *testing.T) {
	ctx := context.Background()
	token := openNSS(t, newNSS(t))
	for _, alg := range []provider.KeyAlg{provider.ECDSAP384SHA384, provider.ECDSAP521SHA512, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256} {
		ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg, Bits: bitsFor(alg)})
		require.NoError(t, err, alg)
		requireGoodSignature(t, token, ref)
	}
	for _, alg := range []provider.KeyAlg{provider.RSAOAEPSHA256, provider.HMACSHA256, provider.AES256GCM} { // proved by a round trip
		_, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg, Bits: bitsFor(alg)})
		require.NoError(t, err, alg)
	}
	requireMadeOrRefused(t, token, map[provider.KeyAlg]string{
		provider.X25519: "CKM_EC_MONTGOMERY_KEY_PAIR_GEN", provider.Ed25519: "CKM_EDDSA",
	})
	_, err := token.CreateKey(ctx, provider.KeySpec{KID: "refused", Alg: provider.HMACSHA256, Bits: 4096})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "the token makes 256 to 2048")
	require.Empty(t, objectsOf(t, token, "refused"))
	many, err := token.RandomBytes(ctx, 100<<10)
	require.NoError(t, err, "more than one C_GenerateRandom gives")
	require.Len(t, many, 100<<10)
}

// requireMadeOrRefused makes a key of each algorithm, which is proved by it, or is refused it for want of the mechanism, as Capabilities
// says: it depends on the module's version.
func requireMadeOrRefused(t testing.TB, token *Token, missing map[provider.KeyAlg]string) {
	t.Helper()
	capabilities, err := token.Capabilities(t.Context())
	require.NoError(t, err)
	for alg, mechanism := range missing {
		_, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: alg})
		if capabilities.Alg(alg).Create {
			require.NoError(t, err, alg)
			continue
		}
		require.ErrorIs(t, err, provider.ErrUnsupported)
		require.ErrorContains(t, err, mechanism)
	}
}

// NSS lets threads that change its database at once wait for each other for ever.
func TestWritersOnNSSDoNotLockEachOtherOut(t *testing.T) {
	ctx := context.Background()
	cfg := newNSS(t)
	var wg sync.WaitGroup
	for _, token := range []*Token{openNSS(t, cfg), openNSS(t, cfg)} {
		for range 3 {
			wg.Go(func() {
				ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
				assert.NoError(t, err)
				_, err = token.RotateKey(ctx, ref.KID, provider.Rotation{})
				assert.NoError(t, err)
				_, err = token.DestroyKey(ctx, ref.KID, provider.AllVersions)
				assert.NoError(t, err)
			})
		}
	}
	wg.Wait()
}
