//go:build cgo

package hsm

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

func TestOpenRefusesWhatCanNotWork(t *testing.T) {
	notPKCS11 := "libc.so.6"
	text := filepath.Join(t.TempDir(), "module.so")
	require.NoError(t, os.WriteFile(text, []byte("no library"), 0o600))
	tests := []struct {
		name   string
		change func(*Config)
		want   error
		text   string
	}{
		{"no module", func(c *Config) { c.Module = "" }, provider.ErrInvalid, "want the path of a PKCS#11 library"},
		{"a module that is not there", func(c *Config) { c.Module = "/nonexistent/module.so" }, provider.ErrInvalid, "want a readable PKCS#11 library"},
		{"a directory as module", func(c *Config) { c.Module = t.TempDir() }, provider.ErrInvalid, "not a directory or device"},
		{"a text file as module", func(c *Config) { c.Module = text }, provider.ErrInvalid, "want a PKCS#11 library: it can't be loaded"},
		{"a library without PKCS#11", func(c *Config) { c.Module = notPKCS11 }, provider.ErrInvalid, "want a PKCS#11 library: it has no C_GetFunctionList"},
		{"a module's name that no file can have", func(c *Config) { c.Module = strings.Repeat("m", 10<<20) }, provider.ErrInvalid, "module of 10485760 bytes: want"}, // the dynamic linker would end the process
		{"a module's name with a NUL byte", func(c *Config) { c.Module += "\x00.so" }, provider.ErrInvalid, "want no NUL byte"},
		{"a label that no token can have", func(c *Config) { c.Label = strings.Repeat("l", 33) }, provider.ErrInvalid, "label of 33 bytes: want at most 32"},
		{"a serial number that no token can have", func(c *Config) { c.Serial = strings.Repeat("1", 17) }, provider.ErrInvalid, "serial number of 17 bytes: want at most 16"},
		{"no token named", func(c *Config) { c.Label = "" }, provider.ErrInvalid, "want its label, serial number or slot"},
		{"a token that is not there", func(c *Config) { c.Label = "absent" }, provider.ErrUnavailable, `no token with label "absent": the module shows label "`},
		{"a label and a serial of two tokens", func(c *Config) { c.Serial = "0" }, provider.ErrUnavailable, `no token with label "shared" and serial "0"`},
		{"two tokens with one label", func(c *Config) { c.Label = twinToken }, provider.ErrInvalid, "select by serial number"},
		{"a negative number of sessions", func(c *Config) { c.Sessions = -1 }, provider.ErrInvalid, "want none negative"},
		{"a PIN with a NUL byte", func(c *Config) { c.PIN = fixedPIN("12\x0034", nil) }, provider.ErrInvalid, "it has a NUL byte"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configFor(t, sharedToken)
			tt.change(&cfg)
			_, err := Open(context.Background(), cfg)
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.text)
		})
	}
}

// fixedPIN is a source that counts how often it is asked.
func fixedPIN(pin string, asked *atomic.Int32) provider.SecretSource {
	return func(context.Context) (provider.Secret, error) {
		if asked != nil {
			asked.Add(1)
		}
		return provider.NewSecret([]byte(pin)), nil
	}
}

func TestAWrongPINIsTriedOnceAndNeverShown(t *testing.T) {
	wrong := "wrong-pin-" + rand.Text()
	var asked atomic.Int32
	cfg := configFor(t, sharedToken)
	cfg.pace = defaultPace
	cfg.PIN = fixedPIN(wrong, &asked)
	token, err := New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, token.Close()) }()
	for range 5 {
		_, err = token.GetKey(context.Background(), "any", 0)
		require.ErrorIs(t, err, provider.ErrAuth)
		require.EqualError(t, err, `token "shared": C_Login: CKR_PIN_INCORRECT`)
		require.NotContains(t, err.Error(), wrong)
	}
	require.EqualValues(t, 1, asked.Load())
}

func TestATokenThatWantsALoginShowsNoKeysWithoutAPIN(t *testing.T) { // they would look destroyed
	ctx := context.Background()
	ref, err := open(t, sharedToken).CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	cfg := configFor(t, sharedToken)
	cfg.PIN = nil
	token, err := New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, token.Close()) }()
	_, err = token.GetKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrAuth)
	_, err = token.JWKS(ctx, "")
	require.ErrorIs(t, err, provider.ErrAuth)
	_, err = token.RotateKey(ctx, ref.KID, provider.Rotation{})
	require.ErrorIs(t, err, provider.ErrAuth)
	shown, err := token.link.find(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, shown, "what is public is there to see, and yet none of it counts")
}

func TestAModuleThatIsInUseElsewhereIsRefused(t *testing.T) {
	other := pkcs11.New(softhsmtest.Get(t).Module)
	require.NotNil(t, other)
	require.NoError(t, other.Initialize())
	defer func() {
		require.NoError(t, other.Finalize())
		other.Destroy()
	}()
	_, err := Open(context.Background(), configFor(t, sharedToken))
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorContains(t, err, "something else in this process has initialised it already")
	require.False(t, provider.IsOutage(err))
	require.NoError(t, other.Finalize(), "the refusal left the other user's module alone")
	require.NoError(t, other.Initialize())
}

func TestInspectModuleShowsEveryToken(t *testing.T) {
	twins := tokensOf(t, softhsmtest.Get(t).Module, "", twinToken)
	require.Len(t, twins, 2)
	for _, token := range twins {
		require.NotEmpty(t, token.Serial)
		require.Contains(t, token.URI, "serial="+token.Serial)
		require.Contains(t, token.Flags, "LOGIN_REQUIRED")
	}
	open(t, sharedToken)
	_, err := InspectModule(context.Background(), softhsmtest.Get(t).Module, "", nil)
	require.ErrorIs(t, err, provider.ErrInvalid, "with the module open in this process")
}

// tokensOf returns the tokens of a module that have a label; all of them if it is empty. The process must not have it open.
func tokensOf(t *testing.T, module, initArgs, label string) (tokens []TokenInfo) {
	t.Helper()
	info, err := InspectModule(context.Background(), module, initArgs, nil)
	require.NoError(t, err)
	for _, slot := range info.Slots {
		if slot.Token != nil && (label == "" || slot.Token.Label == label) {
			tokens = append(tokens, slot.Token.TokenInfo)
		}
	}
	return tokens
}

func TestOneOfTwoTokensWithOneLabelIsOpenedBySerialOrSlot(t *testing.T) {
	for _, info := range tokensOf(t, softhsmtest.Get(t).Module, "", twinToken) {
		for _, cfg := range []Config{{Serial: info.Serial}, {Slot: &info.Slot}, {Label: twinToken, Serial: info.Serial}} {
			cfg.Module = softhsmtest.Get(t).Module
			token, err := Open(context.Background(), cfg)
			require.NoError(t, err)
			got, err := token.Info(context.Background())
			require.NoError(t, err)
			require.Equal(t, info.Serial, got.Serial)
			require.NoError(t, token.Close())
		}
	}
}

func TestATokenIsOpenedByURI(t *testing.T) {
	ctx := context.Background()
	pin := filepath.Join(t.TempDir(), "pin")
	token := softhsmtest.Token(t, sharedToken)
	secret, err := token.PINSource()(ctx)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(pin, append(secret.Expose(), '\n'), 0o600))
	base := "?module-path=" + softhsmtest.Get(t).Module + "&pin-source=file:" + pin

	p, err := provider.Open(ctx, "pkcs11:token="+sharedToken+base)
	require.NoError(t, err)
	ref, err := p.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.NoError(t, p.Close())

	for _, uri := range []string{
		"pkcs11:token=" + sharedToken + base + "&kid=" + ref.KID,
		"pkcs11:token=" + sharedToken + base + "&kid=" + ref.KID + "&version=1",
		"pkcs11:token=" + sharedToken + ";object=" + ref.KID + base,
		"pkcs11:token=" + sharedToken + ";object=" + ref.KID + ".v1" + base,
	} {
		p, got, err := provider.OpenKey(ctx, uri)
		require.NoError(t, err, uri)
		require.Equal(t, ref.Fingerprint, got.Fingerprint)
		require.NoError(t, p.Close())
	}
	_, _, err = provider.OpenKey(ctx, "pkcs11:token="+sharedToken+";object=nobody"+base)
	require.ErrorIs(t, err, provider.ErrNotFound)
}

func TestAURIMayLeaveThePINToTheToken(t *testing.T) {
	cfg, err := ConfigFromURI("pkcs11:token=a?module-path=/m.so&pin-source=pinpad")
	require.NoError(t, err)
	require.True(t, cfg.PINPad)
	require.Nil(t, cfg.PIN)
}

func TestURIsThatAreRefused(t *testing.T) {
	tests := []struct{ name, uri, text string }{
		{"a PIN in the URI", "pkcs11:token=a?pin-value=4711", "pin-value"},
		{"a PIN beside a source", "pkcs11:token=a?pin-value=4711&allow-pin-value=true&pin-source=env:PIN", "not both"},
		{"a command as source", "pkcs11:token=a?pin-source=%7Cecho%204711", "pin-source"},
		{"an unknown attribute", "pkcs11:token=a?pin=4711", "unknown"},
		{"a module by name", "pkcs11:token=a?module-name=softhsm2", "module-path"},
		{"a slot description", "pkcs11:slot-description=4711", "slot-id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ConfigFromURI(tt.uri)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.ErrorContains(t, err, tt.text)
			require.NotContains(t, err.Error(), "4711")
		})
	}
}
