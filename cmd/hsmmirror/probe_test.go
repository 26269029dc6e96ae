package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// An error of a probe means the same in the process that asked.
func TestErrorsCrossFromAProbe(t *testing.T) {
	cross := func(err error) error {
		var b bytes.Buffer
		require.NoError(t, gob.NewEncoder(&b).Encode(probeEvent{Failure: newProbeFailure(err)}))
		var e probeEvent
		require.NoError(t, gob.NewDecoder(&b).Decode(&e))
		require.True(t, e.last())
		return e.Failure
	}
	for i, sentinel := range sentinels {
		err := cross(fmt.Errorf("look: %w: cause", sentinel))
		require.EqualError(t, err, "look: "+sentinel.Error()+": cause")
		for k, other := range sentinels {
			require.Equal(t, i == k, errors.Is(err, other), "%v as %v", sentinel, other)
		}
	}
	answer := &hsm.Error{Token: "demo", Call: "C_Login", Code: 0xA0}
	err := cross(fmt.Errorf("log in: %w", answer))
	require.ErrorIs(t, err, provider.ErrAuth)
	got, ok := errors.AsType[*hsm.Error](err)
	require.True(t, ok)
	require.Equal(t, answer, got)
	err = cross(io.EOF)
	require.EqualError(t, err, "EOF")
	require.Empty(t, err.(*probeFailure).Unwrap())
}

func TestWhatAProbeSays(t *testing.T) {
	answer := probeEvent{Module: &hsm.ModuleInfo{Description: "a module"}}
	module := func(t *testing.T, pauses map[string]time.Duration, events ...probeEvent) (got []string, last string, hung bool, err error) {
		theirs, ours := io.Pipe()
		requests, in := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer ours.Close()
			var req probeRequest
			if gob.NewDecoder(requests).Decode(&req) != nil {
				return
			}
			out := gob.NewEncoder(ours)
			for _, e := range events {
				if out.Encode(e) != nil {
					return
				}
				select {
				case <-time.After(pauses[e.Call]):
				case <-ctx.Done(): // it is killed
					return
				}
			}
		}()
		last, hung, err = followProbe(ctx, cancel, probeRequest{Module: "/m.so"}, theirs, in, time.Second, func(e probeEvent) { got = append(got, e.Module.Description) })
		return got, last, hung, err
	}
	call := func(name string) probeEvent { return probeEvent{Call: name} }
	tests := []struct {
		name   string
		pauses map[string]time.Duration // after a call
		events []probeEvent
		want   string // its description; empty: err
		last   string
		hung   bool
		err    error
	}{
		{"an answer", nil, []probeEvent{call("C_Initialize"), answer}, "a module", "C_Initialize", false, nil},
		{"an answer that takes its time in each call", map[string]time.Duration{"C_Initialize": 900 * time.Millisecond, "C_GetInfo": 900 * time.Millisecond},
			[]probeEvent{call("C_Initialize"), call("C_GetInfo"), answer}, "a module", "C_GetInfo", false, nil},
		{"a call that does not come back", map[string]time.Duration{"C_GetInfo": 1100 * time.Millisecond}, []probeEvent{call("C_Initialize"), call("C_GetInfo"), answer}, "", "C_GetInfo", true, errNoAnswer},
		{"a key that takes long to make", map[string]time.Duration{"C_GenerateKeyPair": 11 * time.Second}, []probeEvent{call("C_GenerateKeyPair"), answer}, "a module", "C_GenerateKeyPair", false, nil},
		{"a key that is never made", map[string]time.Duration{"C_GenerateKey": 13 * time.Second}, []probeEvent{call("C_GenerateKey"), answer}, "", "C_GenerateKey", true, errNoAnswer},
		{"a crash", nil, []probeEvent{call("C_Initialize")}, "", "C_Initialize", false, errNoAnswer},
		{"a refusal", nil, []probeEvent{call("C_Initialize"), {Failure: newProbeFailure(provider.ErrAuth)}}, "", "C_Initialize", false, provider.ErrAuth},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, last, hung, err := module(t, test.pauses, test.events...)
				require.ErrorIs(t, err, test.err)
				require.Equal(t, test.want, strings.Join(got, " "))
				require.Equal(t, test.last, last)
				require.Equal(t, test.hung, hung)
			})
		})
	}
}

func TestWhatIsKeptOfAProbeThatCrashed(t *testing.T) {
	stderr := &headBuffer{}
	for range 3 {
		n, err := stderr.Write(bytes.Repeat([]byte{'x'}, 3000))
		require.NoError(t, err)
		require.Equal(t, 3000, n, "or the process would stop at it")
	}
	require.Equal(t, 4096, stderr.Len())

	reason := func(text string, err error) string {
		b := &headBuffer{}
		_, _ = io.WriteString(b, text)
		return crashReason(b, err)
	}
	exit := exec.Command("false").Run()
	require.Equal(t, " (SIGSEGV: segmentation violation)", reason("warning\nSIGSEGV: segmentation violation\nPC=0x0\n", exit))
	require.Equal(t, " (fatal error: out of memory)", reason("fatal error: out of memory\n", exit))
	require.Equal(t, " (panic: runtime error: out of range)", reason("panic: runtime error: out of range\n", exit))
	require.Equal(t, " (exit status 1)", reason("", exit))
	require.Empty(t, reason("", io.EOF))
}
