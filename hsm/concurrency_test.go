//go:build cgo

package hsm

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// user signs with a key that it has made, and verifies what it gets.
type user struct {
	token  *Token
	jwk    provider.JWK
	signer provider.Signer
}

func newUser(t testing.TB, token *Token) user {
	t.Helper()
	ctx := context.Background()
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	jwk, err := token.PublicJWK(ctx, ref.KID, 1)
	require.NoError(t, err)
	signer, err := token.Signer(ctx, ref.KID, 1)
	require.NoError(t, err)
	return user{token, jwk, signer}
}

// sign returns why there is no signature. A signature that does not verify is provider.ErrInvalid.
func (u user) sign(ctx context.Context) error {
	message := []byte("message")
	signature, err := u.signer.SignContext(ctx, u.jwk.Alg().Digest(message), u.jwk.Alg().SignerOpts())
	if err != nil {
		return err
	}
	return u.jwk.Verify(message, signature)
}

// read asks for what the token is known to hold.
func (u user) read(ctx context.Context) error {
	ref := u.jwk.Ref()
	got, err := u.token.PublicJWK(ctx, ref.KID, ref.Version)
	if err == nil && got.Thumbprint() != u.jwk.Thumbprint() {
		return errors.New("another public key")
	}
	return err
}

// openWith opens the shared token with a configuration of the test's own.
func openWith(t testing.TB, change func(*Config)) *Token {
	t.Helper()
	cfg := configFor(t, sharedToken)
	change(&cfg)
	token, err := Open(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	return token
}

// occupy keeps one of the token's sessions until release is called, with an operation that may take as long as limit.
func occupy(t testing.TB, token *Token, limit time.Duration) (release func()) {
	t.Helper()
	taken, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		c := token.link.(*conn)
		done <- c.call(context.Background(), limit, func(m *member) error {
			close(taken)
			<-free
			return nil
		})
	}()
	<-taken
	return sync.OnceFunc(func() {
		close(free)
		<-done // an error if the call took longer than limit
	})
}

// sessions counts the open sessions of the module, of all tokens and both libraries. SoftHSM2 numbers its handles upwards.
func sessions(t testing.TB, token *Token) (n int) {
	t.Helper()
	c := token.link.(*conn)
	last, err := c.lib.p11.OpenSession(c.member.info.Slot, pkcs11.CKF_SERIAL_SESSION)
	require.NoError(t, err)
	for h := range last {
		if _, err := c.lib.p11.GetSessionInfo(h); err == nil {
			n++
		}
	}
	require.NoError(t, c.lib.p11.CloseSession(last))
	return n
}

func TestManySignWithFewSessions(t *testing.T) {
	u := newUser(t, openWith(t, func(c *Config) { c.Sessions = 2 }))
	before := sessions(t, u.token)
	errs := make(chan error, 16)
	for range cap(errs) {
		go func() {
			var err error
			for range 10 {
				err = errors.Join(err, u.sign(context.Background()))
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.LessOrEqual(t, sessions(t, u.token), before+1, "the pool has two sessions, of which one was open")
}

func TestACallThatWaitsForASessionEndsWithItsContext(t *testing.T) {
	u := newUser(t, openWith(t, func(c *Config) { c.Sessions = 1 }))
	defer occupy(t, u.token, time.Minute)()

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.sign(ctx) }()
	cancel()
	err := <-done
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, provider.ErrUnavailable)

	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err = u.sign(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, provider.ErrUnavailable)
}

func TestACallThatWaitsTooLongForASessionIsToldSo(t *testing.T) {
	u := newUser(t, open(t, sharedToken)) // who makes a key may wait for long until other processes have made theirs
	u.token = openWith(t, func(c *Config) { c.Sessions, c.Timeout = 1, time.Second })
	var err error
	u.signer, err = u.token.Signer(context.Background(), u.jwk.Ref().KID, 1)
	require.NoError(t, err)
	release := occupy(t, u.token, time.Minute)
	err = u.sign(context.Background())
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.EqualError(t, err, `store unavailable: token "shared": no session was free within 1s`)
	release()
	require.NoError(t, u.sign(context.Background()), "a full pool is no outage")
}

func TestACallThatOutlastsItsCallerAnswersNobody(t *testing.T) { // the race detector watches
	token := open(t, sharedToken)
	for i := range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*50*time.Microsecond)
		out, err := token.RandomBytes(ctx, provider.MaxRandomBytes)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Empty(t, out)
		}
	}
	require.NoError(t, token.Health(context.Background()))
}

func TestTokensComeAndGoOnAModuleThatIsBusy(t *testing.T) {
	u := newUser(t, open(t, sharedToken))
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			for ctx.Err() == nil {
				if err := u.sign(context.Background()); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 5 {
		other, err := Open(context.Background(), configFor(t, otherToken))
		require.NoError(t, err)
		require.NoError(t, other.Health(context.Background()))
		require.NoError(t, other.Close())
	}
	cancel()
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
}

func TestATokenThatIsClosedLeavesNoSessionBehind(t *testing.T) {
	stays := open(t, sharedToken)
	before := sessions(t, stays)
	for _, label := range []string{sharedToken, otherToken} {
		goes, err := Open(context.Background(), configFor(t, label))
		require.NoError(t, err)
		u := newUser(t, goes)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for u.sign(context.Background()) == nil { // ends with Close
				}
			})
		}
		require.NoError(t, goes.Close())
		wg.Wait()
		require.Equal(t, before, sessions(t, stays), label)
	}
}

func TestATokenThatIsRefusedLeavesNoSessionBehind(t *testing.T) {
	stays := open(t, sharedToken)
	before := sessions(t, stays)
	cfg := configFor(t, otherToken)
	cfg.PIN = fixedPIN("wrong-pin-7391", nil)
	_, err := Open(context.Background(), cfg)
	require.ErrorIs(t, err, provider.ErrAuth)
	require.Equal(t, before, sessions(t, stays))
}

func TestAPersonMayTypeThePINSlowly(t *testing.T) {
	openWith(t, func(c *Config) {
		c.Timeout = 2 * time.Second
		source := c.PIN
		c.PIN = func(ctx context.Context) (provider.Secret, error) {
			time.Sleep(3 * c.Timeout / 2)
			return source(ctx)
		}
	})
}

func TestOthersConnectWhileAPersonTypesAPIN(t *testing.T) {
	asked, typed := make(chan struct{}), make(chan struct{})
	cfg := configFor(t, otherToken)
	source := softhsmtest.Token(t, otherToken).PINSource()
	cfg.PIN = func(ctx context.Context) (provider.Secret, error) {
		close(asked)
		<-typed
		return source(ctx)
	}
	slow, err := New(cfg)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- slow.Health(context.Background()) }()
	<-asked
	require.NoError(t, newUser(t, open(t, sharedToken)).sign(context.Background()))
	close(typed)
	require.NoError(t, <-done)
	require.NoError(t, slow.Close())
}
