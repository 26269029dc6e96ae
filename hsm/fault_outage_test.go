//go:build cgo && unix

package hsm

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/provider"
)

// outage is what takes a connection away at once, and what ends it.
type outage struct {
	name       string
	begin, end func(*faultmodule.Module)
}

var outages = []outage{
	{"all sessions are dropped", (*faultmodule.Module).DropSessions, nothing},
	{"the login is dropped", (*faultmodule.Module).DropLogin, nothing},
	{"the module is finalised behind our back", (*faultmodule.Module).Finalize, nothing},
	{"the token is unplugged", removed(faultmodule.Unplugged), (*faultmodule.Module).Restore},
	{"the token is unreachable", removed(faultmodule.Unreachable), (*faultmodule.Module).Restore},
	{"the token is unplugged, and seen again after a restart of the module only", removedUntilRestart(faultmodule.Unplugged), (*faultmodule.Module).Restore},
	{"the token is unreachable, and seen again after a restart of the module only", removedUntilRestart(faultmodule.Unreachable), (*faultmodule.Module).Restore},
}

func nothing(*faultmodule.Module) {}

func removed(how faultmodule.Absence) func(*faultmodule.Module) {
	return func(m *faultmodule.Module) { m.Remove(how) }
}

func removedUntilRestart(how faultmodule.Absence) func(*faultmodule.Module) {
	return func(m *faultmodule.Module) { m.RemoveUntilRestart(how) }
}

func TestARecoveryLogsInOnce(t *testing.T) {
	for _, tt := range outages {
		t.Run(tt.name, func(t *testing.T) {
			f := openFaulty(t, nil)
			u := newUser(t, f.Token)
			before := f.m.Sessions()
			calls := f.m.During(func() {
				tt.begin(f.m)
				for range 10 {
					if err := u.sign(context.Background()); err != nil {
						require.ErrorIs(t, err, provider.ErrUnavailable)
					}
				}
				tt.end(f.m)
				comesBack(t, u.sign)
				comesBack(t, u.read)
			})
			require.Equal(t, 1, calls["C_Login"])
			require.LessOrEqual(t, f.m.Sessions(), before)
		})
	}
}

// signUnderLoad runs a few signers until stop is called. Each signature must verify, and each failure be ErrUnavailable.
func signUnderLoad(t *testing.T, u user) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				switch err := u.sign(context.Background()); {
				case provider.IsOutage(err):
					time.Sleep(time.Millisecond)
				case err != nil:
					t.Errorf("want a signature that verifies, or ErrUnavailable: %v", err)
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func TestAnOutageUnderLoad(t *testing.T) {
	for _, tt := range outages {
		t.Run(tt.name, func(t *testing.T) {
			f := openFaulty(t, func(c *Config) { c.Sessions = 4 })
			u := newUser(t, f.Token)
			stop := signUnderLoad(t, u)
			tt.begin(f.m)
			time.Sleep(50 * time.Millisecond)
			tt.end(f.m)
			comesBack(t, u.sign)
			comesBack(t, u.read)
			stop()
			require.LessOrEqual(t, f.m.MostSessions(), 4+3, "the pool's, one for the login, two of crypto11")
		})
	}
}

// Each call may be the first one after the outage. It must never say that a key is gone, and the next ones work.
func TestAnOutageIsNoAnswer(t *testing.T) {
	ctx := context.Background()
	for _, tt := range outages {
		t.Run(tt.name, func(t *testing.T) {
			f := openFaulty(t, nil)
			u := newUser(t, f.Token)
			ref := u.jwk.Ref()
			for _, call := range []func(context.Context) error{
				u.sign,
				f.Health,
				func(context.Context) error { _, err := f.RandomBytes(ctx, 8); return err },
				func(context.Context) error { _, err := f.RotateKey(ctx, ref.KID, provider.Rotation{}); return err },
				func(context.Context) error {
					_, err := f.GetKey(ctx, "nobody", 0)
					if provider.IsOutage(err) {
						return err
					}
					require.ErrorIs(t, err, provider.ErrNotFound)
					return nil
				},
			} {
				tt.begin(f.m)
				if err := call(ctx); err != nil {
					require.ErrorIs(t, err, provider.ErrUnavailable)
				}
				tt.end(f.m)
				comesBack(t, call)
			}
		})
	}
}

// Codes that a module gives for a moment only are not worth a new connection.
func TestACodeThatComesOnceIsNoOutage(t *testing.T) {
	for name, code := range map[string]uint{
		"CKR_DEVICE_ERROR": pkcs11.CKR_DEVICE_ERROR, "CKR_GENERAL_ERROR": pkcs11.CKR_GENERAL_ERROR, "CKR_FUNCTION_FAILED": pkcs11.CKR_FUNCTION_FAILED,
		"CKR_DEVICE_MEMORY": pkcs11.CKR_DEVICE_MEMORY, "CKR_HOST_MEMORY": pkcs11.CKR_HOST_MEMORY, "CKR_FUNCTION_CANCELED": pkcs11.CKR_FUNCTION_CANCELED,
	} {
		t.Run(name, func(t *testing.T) {
			f := openFaulty(t, nil)
			u := newUser(t, f.Token)
			calls := f.m.During(func() {
				f.m.On("C_Sign").Times(1).Fail(code)
				require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
				require.NoError(t, u.sign(context.Background()))
			})
			require.Zero(t, calls["C_Finalize"])
			require.Zero(t, calls["C_Login"])
		})
	}
}

func TestAnObjectThatSeemsGoneIsLookedForAgain(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, nil)
	ref := newUser(t, f.Token).jwk.Ref()
	for n := range 10 {
		fault := f.m.On("C_GetAttributeValue").After(n).Times(1).Fail(pkcs11.CKR_OBJECT_HANDLE_INVALID)
		k, err := f.reloadExcept(ctx, ref.KID, nil)
		fault.Stop()
		require.NoError(t, err)
		_, err = k.find(1)
		require.NotErrorIs(t, err, provider.ErrNotFound, "call %d", n)
	}
}

func TestAConnectionThatHasLastedIsMadeAnewAtOnce(t *testing.T) {
	f := openFaulty(t, func(c *Config) {
		c.pace.firstRetry, c.pace.lastRetry, c.pace.steady = time.Hour, time.Hour, time.Millisecond
	})
	u := newUser(t, f.Token)
	f.m.Finalize()
	require.ErrorIs(t, u.sign(context.Background()), provider.ErrUnavailable)
	comesBack(t, u.sign)
}

// SoftHSM2 writes the token's file at each login, of any process, and answers so until the file is whole.
func TestATokenFileThatIsJustWrittenIsNoOutage(t *testing.T) {
	f := openFaulty(t, nil)
	require.NoError(t, f.Health(t.Context()))
	recoveries := f.Stats().Recoveries
	for range 3 {
		f.m.On("C_GetTokenInfo").Times(3).Fail(pkcs11.CKR_GENERAL_ERROR)
		require.NoError(t, f.Health(t.Context()))
		_, err := f.Tidy(t.Context(), time.Hour) // enumerates
		require.NoError(t, err)
	}
	require.Equal(t, StateUp, f.Status().State)
	require.Equal(t, recoveries, f.Stats().Recoveries)
}
