//go:build cgo

package hsm

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// changingPIN is a source whose value the test sets.
type changingPIN struct {
	mu    sync.Mutex
	value provider.Secret
	asked atomic.Int32
}

func (p *changingPIN) set(value provider.Secret) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value = value
}

func (p *changingPIN) source(context.Context) (provider.Secret, error) {
	p.asked.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	return provider.NewSecret(p.value.Expose()), nil
}

func wrongPIN() provider.Secret { return provider.NewSecret([]byte("wrong-pin-" + rand.Text())) }

// rightPIN returns the PIN of the shared token.
func rightPIN(t testing.TB) provider.Secret {
	t.Helper()
	pin, err := softhsmtest.Token(t, sharedToken).PINSource()(context.Background())
	require.NoError(t, err)
	return pin
}

func TestAPINThatWasRefusedIsNotTriedAgainUntilItChanges(t *testing.T) {
	ctx := context.Background()
	m := faultmoduletest.New(t)
	pin := &changingPIN{value: wrongPIN()}
	cfg := configFor(t, sharedToken)
	cfg.Module, cfg.PIN = m.Path, pin.source
	token, err := New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, token.Close()) }()

	require.ErrorIs(t, token.Health(ctx), provider.ErrAuth)
	require.Equal(t, StateLockedOut, token.Status().State)
	require.Eventually(t, func() bool {
		require.ErrorIs(t, token.Health(ctx), provider.ErrAuth)
		return pin.asked.Load() > 5
	}, recovery, time.Millisecond, "the source is asked again now and then")
	require.EqualValues(t, 1, m.Calls()["C_Login"], "and its PIN tried once")
	require.ErrorContains(t, token.Health(ctx), "it is not tried again until it changes")
	another, err := New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, another.Close()) }()
	require.ErrorIs(t, another.Health(ctx), provider.ErrAuth)
	require.EqualValues(t, 1, m.Calls()["C_Login"], "by all Tokens of the process together")

	pin.set(rightPIN(t))
	require.Eventually(t, func() bool { return token.Health(ctx) == nil }, recovery, time.Millisecond)
	s := token.Stats()
	require.EqualValues(t, 1, s.Logins)
	require.EqualValues(t, 1, s.Refusals)
}

func TestALoginIsNotLentToATokenWithAnotherPIN(t *testing.T) {
	ctx := context.Background()
	first := open(t, sharedToken)
	cfg := configFor(t, sharedToken)
	cfg.PIN = (&changingPIN{value: wrongPIN()}).source
	_, err := Open(ctx, cfg)
	require.ErrorIs(t, err, provider.ErrAuth)
	require.ErrorContains(t, err, "this process is logged in to it with another PIN")
	require.NoError(t, newUser(t, first).sign(ctx), "the first one does not feel it")
}

func TestNoPINIsTriedOnATokenThatIsCloseToLocking(t *testing.T) {
	tests := []struct {
		name string
		flag uint
		text string
	}{
		{"one try left", pkcs11.CKF_USER_PIN_FINAL_TRY, "one more wrong PIN would lock it"},
		{"locked", pkcs11.CKF_USER_PIN_LOCKED, "its user PIN is locked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := faultmoduletest.New(t)
			m.SetTokenFlags(tt.flag, 0)
			cfg := configFor(t, sharedToken)
			cfg.Module = m.Path
			token, err := New(cfg)
			require.NoError(t, err)
			defer func() { require.NoError(t, token.Close()) }()
			err = token.Health(context.Background())
			require.ErrorIs(t, err, provider.ErrAuth)
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, StateLockedOut, token.Status().State)
			require.Zero(t, m.Calls()["C_Login"])
			m.SetTokenFlags(0, 0)
			require.Eventually(t, func() bool { return token.Health(context.Background()) == nil }, recovery, time.Millisecond, "it was unlocked")
		})
	}
}

func TestATokenThatHasRefusedAPINBeforeIsSaidTo(t *testing.T) {
	var records recorder
	m := faultmoduletest.New(t)
	m.SetTokenFlags(pkcs11.CKF_USER_PIN_COUNT_LOW, 0)
	openOn(t, m, func(c *Config) { c.Logger = slog.New(&records) })
	require.Contains(t, records.messages(), "token has refused a PIN before, and locks after a few")
	require.EqualValues(t, 1, m.Calls()["C_Login"])
}

func TestAKeyThatWantsThePINForEachSignature(t *testing.T) {
	ctx := context.Background()
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.RSAPSSSHA256} {
		t.Run(string(alg), func(t *testing.T) {
			m := faultmoduletest.New(t)
			m.SetAlwaysAuthenticate(true)
			token := openOn(t, m, nil)
			ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg})
			require.NoError(t, err, "its proof signs")
			jwk, err := token.PublicJWK(ctx, ref.KID, 1)
			require.NoError(t, err)
			signer, err := token.Signer(ctx, ref.KID, 1)
			require.NoError(t, err)
			for range 3 {
				calls := m.During(func() {
					signature, err := signer.SignContext(ctx, alg.Digest([]byte("m")), alg.SignerOpts())
					require.NoError(t, err)
					require.NoError(t, jwk.Verify([]byte("m"), signature))
				})
				require.EqualValues(t, 1, calls["C_Login"])
				require.Zero(t, calls["C_Logout"])
			}
			refuse := m.On("C_Login").Fail(pkcs11.CKR_PIN_INCORRECT)
			for range 3 {
				_, err = signer.SignContext(ctx, alg.Digest([]byte("m")), alg.SignerOpts())
				require.ErrorIs(t, err, provider.ErrAuth)
			}
			require.Equal(t, 1, refuse.Hits(), "a PIN that is refused is not repeated")
			forget(token)
		})
	}
}

// forget makes the process forget what it has learnt of the PINs of a token.
func forget(token *Token) {
	info, _, err := token.link.token(context.Background())
	if err == nil {
		book := pinsOf(info)
		book.mu.Lock()
		defer book.mu.Unlock()
		clear(book.refused)
	}
}

func TestATokenThatAsksForThePINItself(t *testing.T) {
	ctx := context.Background()
	m := faultmoduletest.New(t)
	m.SetTokenFlags(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH, 0)
	require.NoError(t, m.SetPIN(rightPIN(t)))
	onPad := func(c *Config) { c.PIN, c.PINPad = nil, true }
	token := openOn(t, m, onPad)
	require.NoError(t, newUser(t, token).sign(ctx))
	require.NoError(t, token.Close())

	require.NoError(t, m.SetPIN(wrongPIN()))
	cfg := configFor(t, sharedToken)
	cfg.Module = m.Path
	onPad(&cfg)
	refused, err := New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, refused.Close()) }()
	logins := m.Calls()["C_Login"]
	require.ErrorIs(t, refused.Health(ctx), provider.ErrAuth)
	for end := time.Now().Add(3 * quick.lockedOut); time.Now().Before(end); {
		require.ErrorIs(t, refused.Health(ctx), provider.ErrAuth)
	}
	require.EqualValues(t, logins+1, m.Calls()["C_Login"], "the person is asked once")

	m.SetTokenFlags(0, 0)
	_, err = Open(ctx, cfg)
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorContains(t, err, "it has no PIN entry of its own")
}

func TestATokenThatNeedsNoLogin(t *testing.T) {
	m := faultmoduletest.New(t)
	m.SetTokenFlags(0, pkcs11.CKF_LOGIN_REQUIRED)
	require.NoError(t, m.SetPIN(rightPIN(t)))
	token := openOn(t, m, func(c *Config) { c.PIN = nil })
	u := newUser(t, token)
	require.NoError(t, u.sign(context.Background()))
	m.Remove(faultmodule.Unreachable)
	require.Error(t, u.sign(context.Background()))
	m.Restore()
	comesBack(t, u.sign)
	require.Zero(t, token.Stats().Logins)
}
