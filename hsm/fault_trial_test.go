//go:build cgo && unix

package hsm

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// quickTrial tries what takes no time on SoftHSM2.
var quickTrial = Trial{Algs: []provider.KeyAlg{provider.AES256GCM, provider.HMACSHA256, provider.Ed25519, provider.X25519}, Sessions: 2, Time: time.Millisecond}

// trialOn tries the token behind m, and looks whether anything is left of it.
func trialOn(t *testing.T, m *faultmodule.Module, trial Trial) ([]TrialResult, error) {
	t.Helper()
	cfg := faultyConfig(t, m, nil)
	var results []TrialResult
	err := Try(t.Context(), cfg, trial, nil, func(r TrialResult) { results = append(results, r) })
	require.Zero(t, m.Inside())
	return results, err
}

// Opening a session takes longer than the measurement.
func TestTheSpeedOfAFarTokenIsMeasured(t *testing.T) {
	m := faultmoduletest.New(t)
	m.On("C_OpenSession").Delay(20 * time.Millisecond)
	results, err := trialOn(t, m, quickTrial)
	require.NoError(t, err)
	for _, r := range results {
		require.Empty(t, r.Failure, r.Step)
	}
	require.Equal(t, TrialSpeed, results[len(results)-1].Step)
	require.Regexp(t, `^ED25519: \S+ a signature, \d+ a second in 1 session, \d+ in 2$`, results[len(results)-1].Text)
	require.Zero(t, m.Sessions())
}

// Whatever call fails, the trial says so and goes on with what is left.
func TestATrialSaysWhatFails(t *testing.T) {
	m := faultmoduletest.New(t)
	calls := m.During(func() {
		_, err := trialOn(t, m, quickTrial)
		require.NoError(t, err)
	})
	// One token of several may fail to be looked at, and the others are looked at again where it matters.
	bearable := []string{"C_GetTokenInfo", "C_GetMechanismInfo", "C_CreateObject", "C_GetAttributeValue", "C_CloseSession", "C_DestroyObject"}
	delete(calls, "C_GetFunctionList") // without a list of functions there is nothing to try
	delete(calls, "C_Finalize")        // or the module stays initialised
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		for after := range min(calls[name], 4) {
			t.Run(fmt.Sprintf("%s, call %d", name, after+1), func(t *testing.T) {
				fault := m.On(name).After(int(after)).Times(1).Fail(0x30)
				defer m.Clear()
				results, err := trialOn(t, m, quickTrial)
				require.Equal(t, 1, fault.Hits())
				first := slices.IndexFunc(results, func(r TrialResult) bool { return r.Failure != "" })
				switch {
				case err != nil:
					require.ErrorContains(t, err, "CKR_DEVICE_ERROR")
				case first >= 0:
					require.Contains(t, results[first].Failure, "CKR_DEVICE_ERROR", results[first].Step)
				default:
					require.Contains(t, bearable, name)
				}
			})
		}
	}
}
