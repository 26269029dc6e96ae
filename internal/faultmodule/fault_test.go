//go:build cgo && unix

package faultmodule_test

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
)

// until waits for what another thread is about to do.
func until(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 30*time.Second, time.Millisecond)
}

func TestAFunctionFailsAfterSomeCallsForSomeTimes(t *testing.T) {
	u := start(t)
	fault := u.m.On("C_GetInfo").After(3).Times(2).Fail(pkcs11.CKR_DEVICE_ERROR)
	var failed []int
	for i := range 10 {
		if _, err := u.GetInfo(); err != nil {
			require.Equal(t, code(pkcs11.CKR_DEVICE_ERROR), err)
			failed = append(failed, i)
		}
	}
	require.Equal(t, []int{3, 4}, failed)
	require.Equal(t, 2, fault.Hits())
}

func TestAFaultLastsUntilItIsStopped(t *testing.T) {
	u := start(t)
	fault := u.m.On("C_GetInfo", "C_GetSlotList").Fail(pkcs11.CKR_FUNCTION_FAILED)
	for range 10 {
		_, err := u.GetInfo()
		require.Equal(t, code(pkcs11.CKR_FUNCTION_FAILED), err)
		_, err = u.GetSlotList(true)
		require.Equal(t, code(pkcs11.CKR_FUNCTION_FAILED), err)
	}
	fault.Stop()
	_, err := u.GetInfo()
	require.NoError(t, err)
	require.Equal(t, 20, fault.Hits())
}

func TestAFaultOfAllFunctions(t *testing.T) {
	u := load(t)
	u.m.On().Times(3).Fail(pkcs11.CKR_GENERAL_ERROR)
	require.Equal(t, code(pkcs11.CKR_GENERAL_ERROR), u.Initialize())
	_, err := u.GetInfo()
	require.Equal(t, code(pkcs11.CKR_GENERAL_ERROR), err)
	require.Equal(t, code(pkcs11.CKR_GENERAL_ERROR), u.Finalize())
	require.NoError(t, u.Initialize())
	require.NoError(t, u.Finalize())
}

func TestAFaultThatHasEndedIsNotEndedAgain(t *testing.T) {
	u := start(t)
	first := u.m.On("C_GetInfo").Fail(pkcs11.CKR_DEVICE_ERROR)
	_, _ = u.GetInfo()
	first.Stop()
	second := u.m.On("C_GetInfo").Fail(pkcs11.CKR_DEVICE_REMOVED)
	first.Stop()
	_, err := u.GetInfo()
	require.Equal(t, code(pkcs11.CKR_DEVICE_REMOVED), err)
	require.Equal(t, 1, first.Hits())
	require.Equal(t, 1, second.Hits())
}

func TestManyFaultsInTurnAndTooManyAtOnce(t *testing.T) {
	m := faultmoduletest.New(t)
	for range 1000 {
		m.On("C_Sign").Fail(1).Stop()
	}
	for range 64 {
		m.On("C_Sign").Fail(1)
	}
	require.Panics(t, func() { m.On("C_Sign").Fail(1) })
	require.Panics(t, func() { m.On("C_Sing") }, "an unknown function")
	m.Clear()
	m.On("C_Sign").Fail(1)
}

func TestALostAnswerIsOfACallThatWasCarriedOut(t *testing.T) {
	u := start(t)
	s := u.logIn(t)
	u.m.On("C_GenerateKeyPair").Times(1).Lose(pkcs11.CKR_DEVICE_ERROR)
	_, err := u.generate(s)
	require.Equal(t, code(pkcs11.CKR_DEVICE_ERROR), err)
	require.NoError(t, u.FindObjectsInit(s, nil))
	objects, _, err := u.FindObjects(s, 10)
	require.NoError(t, err)
	require.Len(t, objects, 2, "the pair is there")
}

func TestADelayedCall(t *testing.T) {
	u := start(t)
	const delay = 30 * time.Millisecond
	u.m.On("C_GetInfo").Delay(delay)
	begun := time.Now()
	_, err := u.GetInfo()
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begun), delay)
}

func TestCallsHangUntilTheyAreReleased(t *testing.T) {
	for _, tt := range []struct {
		name    string
		release func(*faultmodule.Fault)
		want    error
	}{
		{"and go on", (*faultmodule.Fault).Release, nil},
		{"and fail", func(f *faultmodule.Fault) { f.ReleaseWith(pkcs11.CKR_DEVICE_REMOVED) }, code(pkcs11.CKR_DEVICE_REMOVED)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := start(t)
			hang := u.m.On("C_GetInfo").Hang()
			errs := make(chan error, 3)
			for range cap(errs) {
				go func() { _, err := u.GetInfo(); errs <- err }()
			}
			until(t, func() bool { return hang.Waiting() == cap(errs) })
			require.Equal(t, cap(errs), u.m.Inside())
			require.Empty(t, errs)
			_, err := u.GetSlotList(true)
			require.NoError(t, err, "other functions answer")

			tt.release(hang)
			for range cap(errs) {
				require.Equal(t, tt.want, <-errs)
			}
			require.Zero(t, hang.Waiting())
			_, err = u.GetInfo()
			require.NoError(t, err)
			require.Equal(t, cap(errs)+1, u.m.MostInside())
		})
	}
}

func TestAModuleThatIsFinalizedWithACallInside(t *testing.T) {
	u := start(t)
	hang := u.m.On("C_GetInfo").Hang()
	done := make(chan error)
	go func() { _, err := u.GetInfo(); done <- err }()
	until(t, func() bool { return hang.Waiting() == 1 })
	require.NoError(t, u.Finalize())
	require.Equal(t, 1, u.m.FinalizedInside())
	hang.Release()
	require.Equal(t, code(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED), <-done)
}

func TestAProcessThatDiesInInitialize(t *testing.T) {
	m := faultmoduletest.New(t)
	m.On("C_Initialize").Crash()
	var exit *exec.ExitError
	require.ErrorAs(t, startChild(t, m).Wait(), &exit)
	require.Equal(t, syscall.SIGABRT, signalOf(exit))
}

func TestAProcessThatHangsInInitialize(t *testing.T) {
	m := faultmoduletest.New(t)
	hang := m.On("C_Initialize").Hang()
	cmd := startChild(t, m)
	until(t, func() bool { return hang.Waiting() == 1 })
	hang.Release()
	require.NoError(t, cmd.Wait())
	require.Equal(t, faultmodule.Calls{"C_GetFunctionList": 1, "C_Initialize": 1}, m.Calls())
}

// signalOf returns the signal that ended a process. The Go runtime of a process turns SIGABRT into its own end by exit code 2.
func signalOf(err *exec.ExitError) syscall.Signal {
	status, ok := err.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return status.Signal()
	}
	if ok && status.ExitStatus() == 2 {
		return syscall.SIGABRT
	}
	return 0
}

func TestTheSourcesCompileWithoutAWarning(t *testing.T) {
	_, err := faultmodule.Compile("-Wall", "-Wextra", "-Wpedantic", "-Werror")
	if errors.Is(err, faultmodule.ErrNoCompiler) {
		t.Skip(err)
	}
	require.NoError(t, err)
}
