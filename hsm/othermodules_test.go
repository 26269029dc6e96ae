//go:build cgo && unix

package hsm

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// otherModule returns the path of a PKCS#11 module, or skips the test as requireModule does.
func otherModule(t testing.TB, name string) string {
	t.Helper()
	return requireModule(t, name, "/usr/lib/*/"+name, "/usr/lib*/"+name, "/usr/lib/*/pkcs11/"+name, "/usr/lib*/pkcs11/"+name)
}

// What p11-kit is configured for stands behind one module. Debian's SoftHSM2 is.
func TestATokenBehindTheProxyOfAllModules(t *testing.T) {
	cfg := configFor(t, sharedToken)
	cfg.Module = otherModule(t, "p11-kit-proxy.so")
	if len(tokensOf(t, cfg.Module, "", sharedToken)) == 0 {
		t.Skip("missing capability: p11-kit configured for SoftHSM2")
	}
	token, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, token.Close()) }()
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519, provider.X25519, provider.RSAOAEPSHA256, provider.AES256GCM, provider.HMACSHA256} {
		ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: alg, Bits: bitsFor(alg)}) // and proves it
		require.NoError(t, err, alg)
		if alg.Signs() {
			requireGoodSignature(t, token, ref)
		}
		_, err = token.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
		require.NoError(t, err)
	}
}

func TestATokenOfCertificatesIsInspectedAndNotOpened(t *testing.T) {
	module := otherModule(t, "p11-kit-trust.so")
	info, err := InspectModule(t.Context(), module, "", nil)
	require.NoError(t, err)
	if len(info.Slots) == 0 || info.Slots[0].Token == nil {
		t.Skip("missing capability: certificates of the system")
	}
	require.Contains(t, info.Slots[0].Token.Flags, "WRITE_PROTECTED")
	cfg := Config{Module: module, Label: info.Slots[0].Token.Label}
	_, err = Open(t.Context(), cfg)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "it has no mechanism")
	var steps []string
	require.NoError(t, Try(t.Context(), cfg, Trial{}, nil, func(r TrialResult) { steps = append(steps, r.Step) }))
	require.Equal(t, []string{TrialRandom}, steps, "that it takes objects for a session says nothing of what it keeps")
}

func TestAModuleWithoutAReaderHasNoToken(t *testing.T) {
	cfg := Config{Module: otherModule(t, "opensc-pkcs11.so"), Label: "no such card"}
	why := `no token with label "no such card"`
	if _, err := InspectModule(t.Context(), cfg.Module, "", nil); err != nil { // where libpcsclite is not installed
		require.ErrorIs(t, err, provider.ErrUnavailable)
		why = `token "no such card": C_Initialize: CKR_GENERAL_ERROR`
	}
	_, err := Open(t.Context(), cfg)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.ErrorContains(t, err, why)
}

// OpenSC's pkcs11-spy.so writes down each call, and hands it to the module behind it.
func TestCallsAsASpySeesThem(t *testing.T) {
	spy, log := otherModule(t, "pkcs11-spy.so"), filepath.Join(t.TempDir(), "calls")
	t.Setenv("PKCS11SPY", softhsmtest.Get(t).Module)
	t.Setenv("PKCS11SPY_OUTPUT", log)
	var ours strings.Builder
	cfg := configFor(t, sharedToken)
	cfg.Module, cfg.Logger = spy, slog.New(slog.NewTextHandler(&ours, nil))

	token, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	requireGoodSignature(t, token, ref)
	before := spied(t, log)
	requireGoodSignature(t, token, ref)
	require.Equal(t, []string{"C_SignInit", "C_Sign"}, names(spied(t, log)[len(before):]), "nothing is asked before a signature, or after it")
	_, err = token.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
	require.NoError(t, err)
	require.NoError(t, token.Close())

	calls := spied(t, log)
	count := map[string]int{}
	for _, c := range calls {
		count[c.name]++
		if c.result != "CKR_OK" && c.name != "C_GetAttributeValue" { // keys of other tests lack some attributes
			require.Equal(t, "C_Finalize CKR_CRYPTOKI_NOT_INITIALIZED", c.name+" "+c.result, "no call is refused, but for crypto11's Finalize made sure of")
		}
	}
	require.Equal(t, 1, count["C_Login"])
	require.Equal(t, 1, count["C_GenerateKeyPair"])
	require.Equal(t, 2, count["C_SignInit"]-1, "one to prove the pair, two asked for")
	require.Equal(t, count["C_OpenSession"], count["C_CloseSession"])
	require.Equal(t, count["C_FindObjectsInit"], count["C_FindObjectsFinal"])
	require.Zero(t, count["C_SetAttributeValue"])
	require.Zero(t, count["C_Logout"], "the last session's end logs out")
	require.Equal(t, "C_Finalize", calls[len(calls)-1].name)
	require.NotContains(t, ours.String(), string(softhsmtest.Token(t, sharedToken).PIN.Expose()))
}

// miekg/pkcs11 takes no notice of a C_GetFunctionList that fails, and ends the process at the next call.
func TestAModuleWithoutFunctionsIsRefused(t *testing.T) {
	t.Setenv("PKCS11SPY", "") // for t.Setenv to put back
	require.NoError(t, os.Unsetenv("PKCS11SPY"))
	t.Setenv("PKCS11SPY_OUTPUT", filepath.Join(t.TempDir(), "calls"))
	module := otherModule(t, "pkcs11-spy.so")
	_, err := Open(t.Context(), Config{Module: module, Label: "any"})
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorContains(t, err, "C_GetFunctionList: CKR_")
	_, err = InspectModule(t.Context(), module, "", nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

// spiedCall is a call as pkcs11-spy.so shows it.
type spiedCall struct{ name, result string }

var spiedPattern = regexp.MustCompile(`(?m)^\d+: (C_\w+)$|^Returned:\s+\d+ (\w+)`)

func spied(t testing.TB, log string) []spiedCall {
	t.Helper()
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	var calls []spiedCall
	for _, m := range spiedPattern.FindAllStringSubmatch(string(b), -1) {
		if m[1] != "" {
			calls = append(calls, spiedCall{name: m[1]})
			continue
		}
		calls[len(calls)-1].result = m[2]
	}
	return calls
}

func names(calls []spiedCall) []string {
	var all []string
	for _, c := range calls {
		all = append(all, c.name)
	}
	return all
}

// PKCS#11 v3.0 wraps the points of Ed25519 and X25519 and v3.1 does not. NSS refuses a wrapped one, openCryptoki without saying why.
func TestATokenIsGivenPointsAsItTakesThem(t *testing.T) {
	ctx := context.Background()
	wrapped := func(template []attribute) bool {
		return slices.ContainsFunc(template, func(a attribute) bool {
			b, _ := a.value.([]byte)
			return a.typ == ckaECPoint && len(b) > 32
		})
	}
	tests := []struct {
		name  string
		quirk func(*TokenInfo)
		code  uint // for a wrapped point
	}{
		{"the token says that it does not take a wrapped one", func(*TokenInfo) {}, 0xD1},                 // CKR_TEMPLATE_INCONSISTENT
		{"the module is known not to", func(i *TokenInfo) { i.Manufacturer, i.Model = "IBM", "Soft" }, 6}, // CKR_FUNCTION_FAILED
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, d := openDetour(t)
			d.info = tt.quirk
			d.onCreate = func(template []attribute) error {
				if wrapped(template) {
					return &Error{Call: "C_CreateObject", Code: tt.code}
				}
				return nil
			}
			ref, err := token.ImportKey(ctx, provider.KeySpec{Alg: provider.Ed25519}, outsideKey(t, provider.Ed25519))
			require.NoError(t, err) // which means that the pair was proved
			requireGoodSignature(t, token, ref)
			_, err = token.DestroyKey(ctx, ref.KID, provider.AllVersions)
			require.NoError(t, err)
		})
	}
}

// wolfPKCS11 shows the first ten objects of a search, unless it was built otherwise, and does not say that there are more. A key that is
// not shown must not count as gone.
func TestASearchThatMayBeCutShortIsRefused(t *testing.T) {
	c := open(t, otherToken).link.(*conn)
	left, err := c.find(t.Context())
	require.NoError(t, err)
	for _, o := range left { // of other tests
		require.NoError(t, c.destroy(t.Context(), o))
	}
	var others, nine, ten, eleven error
	err = c.do(t.Context(), func(m *member, s pkcs11.SessionHandle) error {
		fill := func(n int) error { // with objects of the session, which are gone with it
			for range n {
				if _, err := c.p11.CreateObject(s, toAttributes([]attribute{{ckaClass, uint(ckoData)}, {ckaToken, false}, {ckaPrivate, true}})); err != nil {
					return err
				}
			}
			return nil
		}
		limited := &member{info: wolf}
		if err := fill(10); err != nil {
			return err
		}
		others, nine, ten = c.whole(m, s, 10), c.whole(limited, s, 9), c.whole(limited, s, 10)
		if err := fill(1); err != nil {
			return err
		}
		eleven = c.whole(limited, s, 10)
		return errAbandoned // the session is closed
	})
	require.ErrorIs(t, err, errAbandoned)
	require.NoError(t, others, "SoftHSM2 shows all there are")
	require.NoError(t, nine)
	require.ErrorIs(t, ten, provider.ErrUnsupported)
	require.ErrorContains(t, ten, "WP11_FIND_MAX")
	require.NoError(t, eleven, "a build that shows more of the whole token shows all of a search, too")
}

func TestAnAttributeIsAbsentByWhateverCode(t *testing.T) {
	for code, want := range map[uint]bool{0x12: true, 0x11: true, ^uint(0): true, 5: false, 0x82: false} {
		require.Equal(t, want, absent(pkcs11.Error(code)), "%X", code)
	}
	require.False(t, absent(nil))
}
