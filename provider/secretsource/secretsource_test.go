//go:build unix

package secretsource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

const pin = "correct-horse-4711"

// get asks the source that spec names.
func get(t *testing.T, spec string) (string, error) {
	t.Helper()
	source, err := Parse(spec)
	require.NoError(t, err)
	secret, err := source(t.Context())
	if err != nil {
		require.True(t, secret.Empty(), "a secret beside an error")
	}
	return string(secret.Expose()), err
}

func TestParseRefusesWithoutRepeatingWhatMayBeASecret(t *testing.T) {
	specs := []string{
		"", pin, "pass:" + pin, "|echo " + pin, "FILE:" + pin, "File:/" + pin, pin + ":file", " file:" + pin, "prompt:" + pin, "prompt ",
		"env:", "env:" + pin, "env:A B" + pin, "env:1" + "A", "env:" + pin + "=1",
		"fd:", "fd:" + pin, "fd:-1", "fd:1", "fd:2", "fd:3x", "fd:99999999999999999999",
		"file:", "file:/a\x00b",
	}
	for _, spec := range specs {
		_, err := Parse(spec)
		require.ErrorIs(t, err, provider.ErrInvalid, "%q", spec)
		require.NotContains(t, err.Error(), pin, "%q", spec)
	}
}

func TestParseOpensNothing(t *testing.T) {
	for _, spec := range []string{"file:/absent", "env:HSMMIRROR_ABSENT", "fd:99", "prompt"} {
		_, err := Parse(spec)
		require.NoError(t, err, spec)
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("HSMMIRROR_TEST_PIN", pin)
	got, err := get(t, "env:HSMMIRROR_TEST_PIN")
	require.NoError(t, err)
	require.Equal(t, pin, got)

	t.Setenv("HSMMIRROR_TEST_PIN", "")
	_, err = get(t, "env:HSMMIRROR_TEST_PIN")
	require.ErrorIs(t, err, provider.ErrAuth)
	require.EqualError(t, err, "authentication refused: environment variable HSMMIRROR_TEST_PIN is empty")

	_, err = get(t, "env:HSMMIRROR_TEST_ABSENT")
	require.EqualError(t, err, "authentication refused: environment variable HSMMIRROR_TEST_ABSENT is not set")
}

func TestFuncTrimsChecksAndWipes(t *testing.T) {
	failed := errors.New("vault sealed")
	tests := []struct {
		name   string
		answer string
		err    error
		want   string
		is     error
	}{
		{"as it is", pin, nil, pin, nil},
		{"one LF is left out", pin + "\n", nil, pin, nil},
		{"one CR LF is left out", pin + "\r\n", nil, pin, nil},
		{"a second newline belongs to the secret", pin + "\n\n", nil, pin + "\n", nil},
		{"spaces belong to the secret", " " + pin + " ", nil, " " + pin + " ", nil},
		{"the longest", strings.Repeat("x", MaxBytes) + "\n", nil, strings.Repeat("x", MaxBytes), nil},
		{"one byte too long", strings.Repeat("x", MaxBytes+1), nil, "", provider.ErrAuth},
		{"empty", "", nil, "", provider.ErrAuth},
		{"a newline alone", "\n", nil, "", provider.ErrAuth},
		{"the function fails", pin, failed, "", failed},
		{"a failure is an ErrAuth too", pin, failed, "", provider.ErrAuth},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := []byte(test.answer)
			secret, err := Func(func(context.Context) ([]byte, error) { return answer, test.err })(t.Context())
			require.ErrorIs(t, err, test.is)
			require.Equal(t, test.want, string(secret.Expose()))
			require.Equal(t, make([]byte, len(test.answer)), answer, "not wiped")
			if err != nil {
				require.NotContains(t, err.Error(), pin)
			}
		})
	}
}

func TestAnEndedContextTouchesNoSource(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := false
	_, err := Func(func(context.Context) ([]byte, error) { called = true; return []byte(pin), nil })(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, called)
}

func TestAContextThatEndsMeanwhileIsTheError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Func(func(context.Context) ([]byte, error) { cancel(); return []byte(pin), nil })(ctx)
	require.Equal(t, context.Canceled, err)
}

// pipe returns the number of the reading end, which no *os.File closes any more, and the writing end.
func pipe(t *testing.T) (int, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { w.Close() })
	defer r.Close()
	return dup(t, r), w
}

func spec(scheme string, what any) string { return fmt.Sprintf("%s:%v", scheme, what) }
