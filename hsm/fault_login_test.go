//go:build cgo && unix

package hsm

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestAfterAWrongPINNothingLogsIn(t *testing.T) {
	var asked atomic.Int32
	f := newFaulty(t, func(c *Config) { c.PIN = fixedPIN("wrong-pin-7391", &asked) })
	calls := f.m.During(func() {
		for range 20 {
			require.ErrorIs(t, f.Health(context.Background()), provider.ErrAuth)
		}
	})
	require.Equal(t, 1, calls["C_Login"])
}

func TestEveryRefusalOfAPINIsFinal(t *testing.T) {
	for code, info := range codeTable {
		if info.class != classPIN {
			continue
		}
		t.Run(info.name, func(t *testing.T) {
			f := newFaulty(t, nil)
			f.m.On("C_Login").Times(1).Fail(code)
			calls := f.m.During(func() {
				for range 20 {
					require.ErrorIs(t, f.Health(context.Background()), provider.ErrAuth)
				}
			})
			require.Equal(t, 1, calls["C_Login"])
		})
	}
}

// The PIN may be changed while the token is away. The one that we know is tried once more, and never again.
func TestAPINThatIsRefusedAfterAnOutage(t *testing.T) {
	f := openFaulty(t, nil)
	u := newUser(t, f.Token)
	refuse := f.m.On("C_Login").Fail(pkcs11.CKR_PIN_INCORRECT)
	calls := f.m.During(func() {
		f.m.Finalize()
		require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
		soon(t, func() bool { return errors.Is(u.read(context.Background()), provider.ErrAuth) }, "the refusal is not told")
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			require.ErrorIs(t, u.sign(context.Background()), provider.ErrAuth)
		}
	})
	require.Equal(t, 1, refuse.Hits())
	require.Equal(t, 1, calls["C_Login"])
}

func TestATokenOnTheBrinkIsLeftAlone(t *testing.T) {
	for name, flag := range map[string]uint{"the next wrong PIN locks it": pkcs11.CKF_USER_PIN_FINAL_TRY, "it is locked": pkcs11.CKF_USER_PIN_LOCKED} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t, nil)
			f.m.SetTokenFlags(flag, 0)
			calls := f.m.During(func() {
				for range 20 {
					require.ErrorIs(t, f.Health(context.Background()), provider.ErrAuth)
				}
			})
			require.Zero(t, calls["C_Login"])
		})
	}
}

// Someone has made the token's state worse between two connections.
func TestATokenOnTheBrinkAfterAnOutage(t *testing.T) {
	f := openFaulty(t, nil)
	u := newUser(t, f.Token)
	f.m.SetTokenFlags(pkcs11.CKF_USER_PIN_FINAL_TRY, 0)
	calls := f.m.During(func() {
		f.m.Finalize()
		require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
		soon(t, func() bool { return errors.Is(u.read(context.Background()), provider.ErrAuth) }, "the refusal is not told")
	})
	require.Zero(t, calls["C_Login"])
}

func TestATokenThatCanNotBeWrittenTo(t *testing.T) {
	ctx := context.Background()
	f := newFaulty(t, nil)
	ref := newUser(t, openPlain(t, f)).jwk.Ref()
	f.m.SetTokenFlags(pkcs11.CKF_WRITE_PROTECTED, 0)
	signer, err := f.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)
	_, err = signer.SignContext(ctx, ref.Alg.Digest(nil), ref.Alg.SignerOpts())
	require.NoError(t, err)
	_, err = f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "it is write-protected")
	_, err = f.DestroyKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	_, err = f.GetKey(ctx, ref.KID, 1)
	require.NoError(t, err)
}

// openPlain opens another Token on f's module, and closes it when the test ends or f's module is used with other flags.
func openPlain(t *testing.T, f faultyToken) *Token {
	t.Helper()
	token, err := Open(context.Background(), faultyConfig(t, f.m, nil))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	return token
}

func TestALoginThatShowsOnItsOwnSessionAloneIsNotLost(t *testing.T) {
	f := newFaulty(t, nil)
	f.m.SetShyLogin(true)
	calls := f.m.During(func() {
		u := newUser(t, f.Token)
		require.NoError(t, u.sign(context.Background()))
		_, err := f.GetKey(context.Background(), "nobody", 0)
		require.ErrorIs(t, err, provider.ErrNotFound)
	})
	require.Equal(t, 1, calls["C_Login"])
	f.m.DropLogin()
	_, err := f.GetKey(context.Background(), "nobody", 0)
	require.ErrorIs(t, err, provider.ErrNotFound, "one that is lost is made anew, as ever")
}
