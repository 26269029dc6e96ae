//go:build cgo && unix

package faultmodule_test

import (
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

func TestTheNamesAreThoseOfTheFunctionList(t *testing.T) {
	names := faultmodule.Functions()
	require.Len(t, names, 68)
	require.Equal(t, []string{"C_Initialize", "C_Finalize", "C_GetInfo", "C_GetFunctionList"}, names[:4])
	require.Equal(t, "C_WaitForSlotEvent", names[67])
}

func TestASignaturePassesThrough(t *testing.T) {
	u := start(t)
	s := u.logIn(t)
	key, err := u.generate(s)
	require.NoError(t, err)
	calls := u.m.During(func() {
		require.NoError(t, u.signInit(s, key))
		signature, err := u.Sign(s, make([]byte, 32))
		require.NoError(t, err)
		require.Len(t, signature, 64)
	})
	require.Equal(t, faultmodule.Calls{"C_SignInit": 1, "C_Sign": 2}, calls, "miekg asks for the length first")
}

func TestTwoModulesCountForThemselves(t *testing.T) {
	first, second := start(t), load(t)
	calls := first.m.During(func() { _, _ = second.GetInfo() })
	require.Empty(t, calls)
	require.ErrorIs(t, second.Initialize(), code(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED), "the real module is one")
}

func TestOpenSessionsAreCounted(t *testing.T) {
	u := start(t)
	var open []pkcs11.SessionHandle
	for range 5 {
		open = append(open, u.open(t))
	}
	require.Equal(t, 5, u.m.Sessions())
	for _, s := range open[:3] {
		require.NoError(t, u.CloseSession(s))
	}
	require.Error(t, u.CloseSession(open[0]), "twice")
	require.Equal(t, 2, u.m.Sessions())
	require.Equal(t, 5, u.m.MostSessions())
	u.m.ResetMost()
	require.Equal(t, 2, u.m.MostSessions())
	require.NoError(t, u.CloseAllSessions(u.slot(t)))
	require.Zero(t, u.m.Sessions())
	u.open(t)
	require.NoError(t, u.Finalize())
	require.Zero(t, u.m.Sessions())
}

func TestManyThreadsPassThroughAtOnce(t *testing.T) {
	u := start(t)
	key, err := u.generate(u.logIn(t))
	require.NoError(t, err)
	var wg sync.WaitGroup
	calls := u.m.During(func() {
		for range 8 {
			s := u.open(t)
			wg.Go(func() {
				for range 100 {
					if err := u.signInit(s, key); err != nil {
						t.Error(err)
					}
					if _, err := u.Sign(s, make([]byte, 32)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	require.Equal(t, 800, calls["C_SignInit"])
	require.Equal(t, 1600, calls["C_Sign"])
	require.Zero(t, u.m.Inside())
	require.Positive(t, u.m.MostInside())
}

// What the benchmark of a call costs more than that of the real module is what the module adds.
func BenchmarkGetSessionInfo(b *testing.B) {
	for _, bb := range []struct {
		name string
		path func() string
	}{
		{"real", func() string { return softhsmtest.Get(b).Module }},
		{"through", func() string { return load(b).m.Path }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			u := user{Ctx: pkcs11.New(bb.path())}
			require.NoError(b, u.Initialize())
			defer func() {
				require.NoError(b, u.Finalize())
				u.Destroy()
			}()
			slot := u.slot(b)
			b.RunParallel(func(pb *testing.PB) {
				s, err := u.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
				if err != nil {
					b.Error(err)
				}
				for pb.Next() {
					if _, err := u.GetSessionInfo(s); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

const childEnv = "HSMMIRROR_TEST_FAULTMODULE"

// child initialises the module at path and ends.
func child(path string) {
	if pkcs11.New(path).Initialize() != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func startChild(t *testing.T, m *faultmodule.Module) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+m.Path)
	require.NoError(t, cmd.Start())
	return cmd
}
