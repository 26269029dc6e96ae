//go:build cgo

package hsm

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// faulty returns the shared token on a module that fails on demand, and that module.
func faulty(t testing.TB, change func(*Config)) (*Token, *faultmodule.Module) {
	t.Helper()
	m := faultmoduletest.New(t)
	return openOn(t, m, change), m
}

// openOn opens the shared token on m.
func openOn(t testing.TB, m *faultmodule.Module, change func(*Config)) *Token {
	t.Helper()
	return openWith(t, func(c *Config) {
		c.Module = m.Path
		if change != nil {
			change(c)
		}
	})
}

// reaches waits until the connection stands as wanted.
func reaches(t testing.TB, token *Token, want State) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	for s := range token.Watch(ctx) {
		if s.State == want {
			return s
		}
	}
	t.Fatalf("the state is %v: want %v", token.Status().State, want)
	return Status{}
}

// checked waits for the end of the check of the token that is under way, if there is one.
func checked(token *Token) {
	c := token.link.(*conn)
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	<-c.check(m, nil)
}

func TestTheStateIsTold(t *testing.T) {
	m := faultmoduletest.New(t)
	cfg := configFor(t, sharedToken)
	cfg.Module = m.Path
	token, err := New(cfg)
	require.NoError(t, err)
	require.Equal(t, StateNew, token.Status().State)
	require.NoError(t, token.Health(context.Background()))
	up := token.Status()
	require.Equal(t, StateUp, up.State)
	require.NoError(t, up.Cause)

	m.Remove(faultmodule.Unreachable)
	require.ErrorIs(t, token.Health(context.Background()), provider.ErrUnavailable)
	down := reaches(t, token, StateDown)
	require.ErrorIs(t, down.Cause, provider.ErrUnavailable)
	m.Restore()
	require.True(t, reaches(t, token, StateUp).Since.After(down.Since))

	require.NoError(t, token.Close())
	closed := reaches(t, token, StateClosed)
	require.ErrorIs(t, closed.Cause, provider.ErrClosed)
	for s := range token.Watch(context.Background()) {
		require.Equal(t, StateClosed, s.State, "the last one, and no more")
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	token := open(t, sharedToken)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var seen []State
	for s := range token.Watch(ctx) {
		seen = append(seen, s.State)
		cancel()
	}
	require.Equal(t, []State{StateUp}, seen)
}

func TestWhatIsLostBesideATokenThatIsThereIsMadeAnewWithoutARestart(t *testing.T) {
	tests := []struct {
		name string
		drop func(*faultmodule.Module)
	}{
		{"all sessions", (*faultmodule.Module).DropSessions},
		{"the login", (*faultmodule.Module).DropLogin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			token, m := faulty(t, nil)
			u := newUser(t, token)
			for _, call := range []struct {
				name string
				f    func() error
			}{
				{"a signature", func() error { return u.sign(ctx) }},
				{"a search", func() error { return token.enumerate(ctx) }},
				{"a new key", func() error {
					_, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
					return err
				}},
				{"a key that is made by crypto11", func() error {
					return token.generate(ctx, record{KID: "x", Alg: provider.RSAPSSSHA256, Bits: 2048, ID: "00"})
				}},
				{"a signature after that", func() error { return u.sign(ctx) }},
			} {
				logins, sessions := token.Stats().Logins, m.Sessions()
				before := m.Calls()
				tt.drop(m)
				if call.name == "a key that is made by crypto11" {
					require.NoError(t, token.Health(ctx))
				}
				require.NoError(t, call.f(), call.name)
				require.Equal(t, logins+1, token.Stats().Logins, "%s: one login", call.name)
				require.Equal(t, before["C_Initialize"], m.Calls()["C_Initialize"], call.name)
				require.LessOrEqual(t, m.Sessions(), sessions+1, call.name)
			}
			require.NoError(t, token.removeKeys(ctx, []byte{0}))
		})
	}
}

func TestACallThatHangsTakesTheConnectionDownUntilItIsBack(t *testing.T) {
	ctx := context.Background()
	token, m := faulty(t, func(c *Config) { c.Timeout = time.Second })
	u := newUser(t, token)
	hang := m.On("C_Sign").Hang()
	defer hang.Release()
	err := u.sign(ctx)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.ErrorContains(t, err, "no answer within 1s")
	reaches(t, token, StateWedged)
	checked(token)
	before := m.Calls()
	for range 100 {
		require.ErrorIs(t, u.sign(ctx), provider.ErrUnavailable)
		require.ErrorIs(t, u.read(ctx), provider.ErrUnavailable)
	}
	require.Equal(t, before, m.Calls(), "nothing more is asked of it")
	require.Equal(t, 1, token.Stats().Stuck)
	hang.Release()
	reaches(t, token, StateUp)
	require.NoError(t, u.sign(ctx))
	require.Equal(t, before["C_Finalize"], m.Calls()["C_Finalize"], "it went on where it was")
	s := token.Stats()
	require.Zero(t, s.Stuck)
	require.EqualValues(t, 1, s.Recoveries)
	require.EqualValues(t, 1, s.Logins)
}

func TestADeadTokenHoldsNoMoreCallsThanItHasSessions(t *testing.T) {
	const sessions = 3
	token, m := faulty(t, func(c *Config) { c.Timeout, c.Sessions = time.Second, sessions })
	u := newUser(t, token)
	hang := m.On().Hang()
	defer hang.Release()
	errs := make(chan error, 100)
	for range cap(errs) {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			errs <- u.sign(ctx)
		}()
	}
	for range cap(errs) {
		err := <-errs
		require.True(t, provider.IsOutage(err) || errors.Is(err, context.DeadlineExceeded), "%v", err)
	}
	reaches(t, token, StateWedged)
	require.LessOrEqual(t, hang.Waiting(), sessions+1, "one of them is the session of the login, which the check uses")
	hang.Release()
	reaches(t, token, StateUp)
	require.NoError(t, u.sign(context.Background()))
	require.Zero(t, m.FinalizedInside())
}

func TestAFirstConnectionThatHangsLetsItsCallersGo(t *testing.T) {
	for _, function := range []string{"C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login"} {
		t.Run(function, func(t *testing.T) {
			m := faultmoduletest.New(t)
			hang := m.On(function).Hang()
			defer hang.Release()
			cfg := configFor(t, sharedToken)
			cfg.Module, cfg.Timeout = m.Path, time.Second
			token, err := New(cfg)
			require.NoError(t, err)
			require.ErrorIs(t, token.Health(context.Background()), provider.ErrUnavailable)
			reaches(t, token, StateWedged)
			require.ErrorIs(t, token.Health(context.Background()), provider.ErrUnavailable)
			hang.Release()
			comesBack(t, token.Health)
			require.NoError(t, token.Close())
			require.Zero(t, m.Sessions())
		})
	}
}

func TestAConnectionThatLiesIdleIsKeptAlive(t *testing.T) {
	token, m := faulty(t, func(c *Config) { c.KeepAlive = 20 * time.Millisecond })
	u := newUser(t, token)
	asked := m.Calls()["C_GenerateRandom"]
	require.Eventually(t, func() bool { return m.Calls()["C_GenerateRandom"] > asked+3 }, recovery, time.Millisecond)
	require.Eventually(t, func() bool { return token.Stats().Idle == 0 }, recovery, time.Millisecond, "idle sessions are closed")
	m.Remove(faultmodule.Unplugged)
	reaches(t, token, StateDown)
	m.Restore()
	reaches(t, token, StateUp)
	require.NoError(t, u.sign(context.Background()))
}

func TestAForkedProcessIsToldSo(t *testing.T) {
	token := open(t, sharedToken)
	u := newUser(t, token)
	getpid = func() int { return 1 }
	defer func() { getpid = pidOfTest }()
	err := u.sign(context.Background())
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.ErrorContains(t, err, "process 1 was forked from process")
	require.ErrorIs(t, token.link.close(), provider.ErrUnavailable)
	getpid = pidOfTest
	require.NoError(t, u.sign(context.Background()))
}

var pidOfTest = getpid

func TestTokensWithFewSessions(t *testing.T) {
	tests := []struct {
		name  string
		limit int
	}{
		{"one session for the login and all else", 1},
		{"one session beside the login's", 2},
		{"a few", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := faultmoduletest.New(t)
			m.SetSessionLimit(tt.limit)
			token := openOn(t, m, func(c *Config) { c.KeepAlive = 50 * time.Millisecond })
			u := newUser(t, token)
			errs := make(chan error, 8)
			for range cap(errs) {
				go func() {
					var err error
					for range 20 {
						err = errors.Join(err, u.sign(context.Background()), u.read(context.Background()))
					}
					errs <- err
				}()
			}
			for range cap(errs) {
				require.NoError(t, <-errs)
			}
			require.LessOrEqual(t, m.MostSessions(), tt.limit)
			fail := m.On("C_Sign").Times(1).Fail(pkcs11.CKR_DATA_INVALID)
			require.Error(t, u.sign(context.Background()))
			require.Equal(t, 1, fail.Hits())
			require.NoError(t, u.sign(context.Background()), "the session of the failed operation was replaced")
		})
	}
}

func TestATokenThatGivesFewerSessionsThanItPromises(t *testing.T) {
	token, m := faulty(t, nil)
	u := newUser(t, token)
	refuse := m.On("C_OpenSession").Fail(pkcs11.CKR_SESSION_COUNT)
	hang := m.On("C_Sign").Times(1).Hang() // so that one session is not enough
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			var err error
			for range 20 {
				err = errors.Join(err, u.sign(context.Background()))
			}
			errs <- err
		}()
	}
	require.Eventually(t, func() bool { return refuse.Hits() > 0 }, recovery, time.Millisecond)
	hang.Release()
	for range cap(errs) {
		require.NoError(t, <-errs, "it waits for a session that there is")
	}
	s := token.Stats()
	require.Less(t, s.Sessions, DefaultSessions)
	require.Zero(t, s.InUse)
	require.Equal(t, StateUp, s.Status.State)
}

func TestStatsCountWhatWasDone(t *testing.T) {
	ctx := context.Background()
	token, m := faulty(t, nil)
	u := newUser(t, token)
	require.NoError(t, u.sign(ctx))
	m.On("C_SignInit").Times(2).Fail(pkcs11.CKR_MECHANISM_INVALID)
	require.Error(t, u.sign(ctx))
	require.Error(t, u.sign(ctx))
	s := token.Stats()
	require.Equal(t, map[string]uint64{"CKR_MECHANISM_INVALID": 2}, s.Errors["C_SignInit"])
	require.EqualValues(t, 1, s.Epochs)
	require.EqualValues(t, 1, s.Logins)
	require.Zero(t, s.Refusals)
	require.Equal(t, DefaultSessions, s.Sessions)
	counted := m.Calls()
	for _, f := range []string{"C_SignInit", "C_CreateObject", "C_FindObjectsInit", "C_Login"} {
		require.EqualValues(t, counted[f], s.Calls[f], f)
	}
}

func TestStateChangesAreLoggedOnceAndCallsAreNot(t *testing.T) {
	var records recorder
	token, m := faulty(t, func(c *Config) { c.Logger = slog.New(&records) })
	u := newUser(t, token)
	m.Remove(faultmodule.Unreachable)
	for range 50 {
		require.Error(t, u.sign(context.Background()))
	}
	reaches(t, token, StateDown)
	m.Restore()
	comesBack(t, u.sign)
	changes := slices.DeleteFunc(records.messages(), func(text string) bool { // other tests leave damaged keys, and a PIN that was refused
		return !strings.HasPrefix(text, "token ") || strings.HasPrefix(text, "token has refused")
	})
	require.Equal(t, []string{"token connected", "token lost", "token connected"}, changes)
}

func TestWhatIsMadeAfterEverybodyHasLeftIsTakenBack(t *testing.T) {
	tests := []struct {
		name, function string
		alg            provider.KeyAlg
		skip           int
	}{
		{"a record", "C_CreateObject", provider.ECDSAP256SHA256, 0},
		{"a pair that crypto11 makes", "C_GenerateKeyPair", provider.ECDSAP256SHA256, 0},
		{"a pair that we make", "C_GenerateKeyPair", provider.Ed25519, 0},
		{"a secret key", "C_GenerateKey", provider.AES256GCM, 0},
		{"the record that makes it live", "C_CreateObject", provider.ECDSAP256SHA256, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, m := faulty(t, nil)
			require.NoError(t, token.enumerate(context.Background()))
			hang := m.On(tt.function).After(tt.skip).Times(1).Hang()
			defer hang.Release()
			ctx, cancel := context.WithCancel(context.Background())
			kid := provider.NewKID()
			made := make(chan error, 1)
			go func() {
				_, err := token.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: tt.alg})
				made <- err
			}()
			require.Eventually(t, func() bool { return hang.Waiting() == 1 }, recovery, time.Millisecond)
			cancel()
			require.ErrorIs(t, <-made, context.Canceled)
			hang.Release()
			require.Eventually(t, func() bool { return m.Inside() == 0 && token.Stats().InUse == 0 }, recovery, time.Millisecond)
			objects, err := token.link.find(context.Background())
			require.NoError(t, err)
			for _, o := range objects {
				require.NotContains(t, o.label, kid)
			}
			_, err = token.GetKey(context.Background(), kid, 0)
			require.ErrorIs(t, err, provider.ErrNotFound)
		})
	}
}

func TestASlowEnumerationHangsNot(t *testing.T) { // each of its steps is an operation, with a time limit of its own
	ctx := context.Background()
	const least = 8 * readStep
	maker, m := faulty(t, nil)
	objects, err := maker.link.find(ctx)
	require.NoError(t, err)
	for made := len(objects); made < least; made += 3 {
		_, err := maker.CreateKey(ctx, provider.KeySpec{Alg: provider.Ed25519})
		require.NoError(t, err)
	}
	token := openOn(t, m, func(c *Config) { c.Timeout = 2 * time.Second })
	calls := m.During(func() { require.NoError(t, token.enumerate(ctx)) })["C_GetAttributeValue"]
	slow := m.On("C_GetAttributeValue").Delay(5 * time.Second / time.Duration(calls))
	defer slow.Stop()
	start := time.Now()
	require.NoError(t, token.enumerate(ctx))
	require.Greater(t, time.Since(start), 2*time.Second)
	require.Equal(t, StateUp, token.Status().State)
}

func TestKeysAreReadAnewBesideTheCallers(t *testing.T) {
	ctx := context.Background()
	token, m := faulty(t, func(c *Config) { c.RefreshAfter = time.Hour })
	u := newUser(t, token)
	require.NoError(t, u.read(ctx))
	token.mu.Lock()
	token.idx.at = token.idx.at.Add(-time.Hour - time.Minute)
	token.mu.Unlock()
	hang := m.On("C_FindObjectsInit").Hang()
	defer hang.Release()
	for range 10 {
		require.NoError(t, u.read(ctx), "it is not waited for")
	}
	require.Eventually(t, func() bool { return hang.Waiting() == 1 }, recovery, time.Millisecond)
	hang.Release()
	require.Eventually(t, func() bool { return token.younger(time.Minute) }, recovery, time.Millisecond)
}

func TestATokenThatWasThereIsUnavailableWhateverItsModuleSays(t *testing.T) {
	token, m := faulty(t, nil)
	refuse := m.On("C_Initialize").Fail(pkcs11.CKR_ARGUMENTS_BAD)
	m.Remove(faultmodule.Unreachable)
	require.ErrorIs(t, token.Health(context.Background()), provider.ErrUnavailable)
	require.Eventually(t, func() bool { return refuse.Hits() > 1 }, recovery, time.Millisecond)
	reaches(t, token, StateDown)
	require.ErrorIs(t, token.Health(context.Background()), provider.ErrUnavailable)
	refuse.Stop()
	m.Restore()
	comesBack(t, token.Health)
}

// NSS 3.87 does; 3.132 shows an empty database.
func TestAModuleThatNeedsArgumentsIsRefusedWithoutThem(t *testing.T) {
	f := newFaulty(t, nil)
	f.m.On("C_Initialize").Fail(pkcs11.CKR_ARGUMENTS_BAD)
	err := f.Health(context.Background())
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorContains(t, err, "it needs initialisation arguments")
	require.ErrorContains(t, err, "x-init-reserved")
}
