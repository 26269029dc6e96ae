//go:build cgo

package hsm

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// door is a token that only knows a PIN.
type door struct {
	pin   string
	fault error // what every try ends with, if it is not nil
	tried []string
}

func (d *door) try(pin string) (already bool, err error) {
	d.tried = append(d.tried, pin)
	if d.fault != nil {
		return false, d.fault
	}
	if pin != d.pin {
		return false, provider.ErrAuth
	}
	return false, nil
}

// keeperFor returns a keeper with a source whose value and error the test sets, and a token that nobody has tried a PIN on.
func keeperFor() (*pinKeeper, *changingPIN, TokenInfo) {
	p := &changingPIN{}
	return &pinKeeper{source: p.source, logger: slog.New(slog.DiscardHandler)}, p, TokenInfo{Label: "t", Serial: rand.Text()}
}

func (p *changingPIN) setText(s string) { p.set(provider.NewSecret([]byte(s))) }

func TestAPINThatWasAcceptedIsNotAskedForAgain(t *testing.T) {
	k, p, token := keeperFor()
	d := &door{pin: "right"}
	p.setText("right")
	for range 3 {
		require.NoError(t, k.present(t.Context(), token, d.try))
	}
	require.NoError(t, k.repeat(token, d.try))
	require.Equal(t, []string{"right", "right", "right", "right"}, d.tried)
	require.EqualValues(t, 1, p.asked.Load(), "a prompt can't be answered twice")

	d.fault = provider.ErrUnavailable
	require.ErrorIs(t, k.present(t.Context(), token, d.try), provider.ErrUnavailable)
	d.fault = nil
	require.NoError(t, k.present(t.Context(), token, d.try), "an outage is no refusal")
	require.EqualValues(t, 1, p.asked.Load())
}

func TestAPINThatWasChangedIsAskedForAtOnce(t *testing.T) {
	k, p, token := keeperFor()
	d := &door{pin: "old"}
	p.setText("old")
	require.NoError(t, k.present(t.Context(), token, d.try))
	d.pin = "new"
	p.setText("new")
	require.NoError(t, k.present(t.Context(), token, d.try))
	require.Equal(t, []string{"old", "old", "new"}, d.tried)
	require.EqualValues(t, 2, p.asked.Load())
}

func TestARefusedPINIsNotTriedByAnybodyAgain(t *testing.T) {
	k, p, token := keeperFor()
	d := &door{pin: "right"}
	p.setText("wrong")
	for range 3 {
		err := k.present(t.Context(), token, d.try)
		require.ErrorIs(t, err, provider.ErrAuth)
		require.NotContains(t, err.Error(), "wrong")
		require.ErrorIs(t, k.repeat(token, d.try), provider.ErrAuth, "it is not kept")
	}
	other, q, _ := keeperFor()
	q.setText("wrong")
	require.ErrorIs(t, other.present(t.Context(), token, d.try), provider.ErrAuth)
	require.ErrorIs(t, other.repeat(token, d.try), provider.ErrAuth, "nor by who did not try it")
	require.Equal(t, []string{"wrong"}, d.tried)
	q.setText("right")
	require.NoError(t, other.present(t.Context(), token, d.try))
	require.NoError(t, other.repeat(token, d.try))

	d.pin = "newer"
	require.ErrorIs(t, other.repeat(token, d.try), provider.ErrAuth)
	tried := len(d.tried)
	require.ErrorIs(t, other.repeat(token, d.try), provider.ErrAuth)
	require.ErrorIs(t, other.present(t.Context(), token, d.try), provider.ErrAuth, "the source has the refused one")
	require.Len(t, d.tried, tried, "a refusal of a repeated PIN counts as any other")
}

func TestWhatIsNoPINIsNotTried(t *testing.T) {
	away := errors.New("no terminal")
	for _, tt := range []struct {
		name   string
		source provider.SecretSource
		want   error
		cause  error
	}{
		{"the source fails", func(context.Context) (provider.Secret, error) { return provider.Secret{}, away }, provider.ErrAuth, away},
		{"it is empty", func(context.Context) (provider.Secret, error) { return provider.Secret{}, nil }, provider.ErrAuth, nil},
		{"it begins with a NUL", func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte("\x00pin")), nil }, provider.ErrInvalid, nil},
		{"it ends with a NUL", func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte("pin\x00")), nil }, provider.ErrInvalid, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, _, token := keeperFor()
			k.source = tt.source
			d := &door{}
			err := k.present(t.Context(), token, d.try)
			require.ErrorIs(t, err, tt.want)
			if tt.cause != nil {
				require.ErrorIs(t, err, tt.cause)
			}
			require.NotContains(t, err.Error(), "pin\x00")
			require.ErrorIs(t, k.repeat(token, d.try), provider.ErrAuth)
			require.Empty(t, d.tried)
		})
	}
}

func TestAPersonIsAskedAtThePINPadOnce(t *testing.T) {
	k, _, token := keeperFor()
	d := &door{pin: "typed"}
	require.ErrorIs(t, k.pad(token, d.try), provider.ErrInvalid, "it has none")
	token.flags = pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH
	for _, flag := range []uint{pkcs11.CKF_USER_PIN_LOCKED, pkcs11.CKF_USER_PIN_FINAL_TRY} {
		brink := token
		brink.flags |= flag
		require.ErrorIs(t, k.pad(brink, d.try), provider.ErrAuth)
	}
	require.Empty(t, d.tried)
	for range 3 {
		require.ErrorIs(t, k.pad(token, d.try), provider.ErrAuth)
	}
	require.Len(t, d.tried, 1)

	k, _, _ = keeperFor()
	d = &door{}
	for range 3 {
		require.NoError(t, k.pad(token, d.try))
	}
	require.Equal(t, []string{"", "", ""}, d.tried)
	require.Zero(t, k.asked.Load()%2, "nobody is being asked any more")

	d.fault = provider.ErrUnavailable
	require.ErrorIs(t, k.pad(token, d.try), provider.ErrUnavailable)
	d.fault = nil
	require.NoError(t, k.pad(token, d.try), "an outage is no refusal")
}

// Who waits for a connection grants a person the time to type.
func TestAPersonIsSeenToBeAsked(t *testing.T) {
	k, _, token := keeperFor()
	token.flags = pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH
	k.source = func(context.Context) (provider.Secret, error) {
		require.EqualValues(t, 1, k.asked.Load()%2)
		return provider.NewSecret([]byte("typed")), nil
	}
	require.NoError(t, k.present(t.Context(), token, func(string) (bool, error) {
		require.Zero(t, k.asked.Load()%2, "it was typed")
		return false, nil
	}))
	require.NoError(t, k.pad(token, func(string) (bool, error) {
		require.EqualValues(t, 1, k.asked.Load()%2)
		return false, nil
	}))
	require.Zero(t, k.asked.Load()%2)
}

// Several signatures with a key that wants the PIN for each, after the PIN was changed elsewhere.
func TestAPINIsRefusedOnceHoweverManyRepeatIt(t *testing.T) {
	k, p, token := keeperFor()
	p.setText("old")
	require.NoError(t, k.present(t.Context(), token, func(string) (bool, error) { return false, nil }))
	var tried atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := k.repeat(token, func(string) (bool, error) {
				tried.Add(1)
				time.Sleep(10 * time.Millisecond) // the others come in the meantime
				return false, provider.ErrAuth
			})
			require.ErrorIs(t, err, provider.ErrAuth)
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, tried.Load())
}

// A process that is logged in already proves nothing for a PIN that the token did not look at.
func TestALoginThatWasThereProvesNoPIN(t *testing.T) {
	k, p, token := keeperFor()
	p.setText("right")
	d := &door{pin: "right"}
	require.NoError(t, k.present(t.Context(), token, d.try))
	loggedIn := func(string) (bool, error) { return true, nil }
	require.NoError(t, k.present(t.Context(), token, loggedIn))
	other, q, _ := keeperFor()
	q.setText("wrong")
	require.ErrorIs(t, other.present(t.Context(), token, loggedIn), provider.ErrAuth)
	require.ErrorIs(t, other.repeat(token, d.try), provider.ErrAuth)
	require.Equal(t, []string{"right"}, d.tried, "it is not kept")
	away := func(string) (bool, error) { return false, provider.ErrUnavailable }
	require.ErrorIs(t, other.present(t.Context(), token, away), provider.ErrUnavailable, "an outage is no refusal")
	q.setText("right")
	require.ErrorIs(t, other.present(t.Context(), token, away), provider.ErrUnavailable)
	require.NoError(t, other.present(t.Context(), token, loggedIn))
}

// Another part of the program may have logged in, by a PIN of which nothing is known here.
func TestALoginOfSomebodyElseIsUsed(t *testing.T) {
	k, p, token := keeperFor()
	p.setText("any")
	require.NoError(t, k.present(t.Context(), token, func(string) (bool, error) { return true, nil }))
}

func TestAPINThatOneTokenRefusedMayBeAnothers(t *testing.T) {
	_, _, token := keeperFor()
	token.Manufacturer, token.Model = "m", "m"
	for name, change := range map[string]func(*TokenInfo){
		"manufacturer": func(t *TokenInfo) { t.Manufacturer = "n" },
		"model":        func(t *TokenInfo) { t.Model = "n" },
		"serial":       func(t *TokenInfo) { t.Serial = "n" + t.Serial },
		"label":        func(t *TokenInfo) { t.Label = "n" },
	} {
		t.Run("another "+name, func(t *testing.T) {
			k, p, _ := keeperFor()
			p.setText("pin")
			require.ErrorIs(t, k.present(t.Context(), token, (&door{pin: "other"}).try), provider.ErrAuth)
			another := token
			change(&another)
			require.NoError(t, k.present(t.Context(), another, (&door{pin: "pin"}).try))
		})
	}
}
