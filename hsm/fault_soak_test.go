//go:build cgo && unix

package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// soakEnv names the environment variable that says how long the soak lasts. ci/soak sets it.
const soakEnv = "HSMMIRROR_TEST_SOAK"

// Keys are made, rotated, used, published and destroyed, all at once, while something goes wrong with the token again and again. No
// signature is wrong, no version ever shows another public key or comes back from the dead, no call fails but for the token's
// absence; and when the trouble is over, all is as it was.
func TestSoak(t *testing.T) {
	value := os.Getenv(soakEnv)
	if value == "" {
		t.Skip("it takes long: ci/soak runs it")
	}
	d, err := time.ParseDuration(value)
	require.NoError(t, err)
	m := faultmoduletest.New(t)
	forgetRefusals()
	before := goroutines()
	cfg := faultyConfig(t, m, func(c *Config) {
		c.Sessions, c.Timeout, c.KeepAlive, c.RefreshAfter = 6, 3*time.Second, 200*time.Millisecond, 300*time.Millisecond
		c.Logger = slog.New(slog.DiscardHandler)
	})
	s := &soak{t: t, m: m, w: newWorkload(t, cfg), known: map[string]string{}, gone: map[string]bool{}}
	for range 2 * cfg.Sessions { // crypto11's pool opens a session for each key until it is full, and closes none
		require.NoError(t, s.live(context.Background(), provider.NewKID()))
	}
	atRest := s.rest(t)

	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	s.run(ctx)
	s.trouble(ctx)
	s.users.Wait()

	m.Clear()
	comesBack(t, func(ctx context.Context) error { return s.w.sign(ctx, provider.ECDSAP256SHA256) })
	s.clear(t)
	soon(t, func() bool { return s.rest(t) <= atRest }, "sessions stay open") // those that are idle no more may still be closing
	stats := s.w.Stats()
	require.NoError(t, s.w.Close())
	leavesNothing(t, m, before)
	fmt.Printf("soak of %v: %d faults, %d outages (the longest %v), %d logins; %d signatures, %d key sets, %d keys made, %d rotated, %d destroyed; %d calls without an answer\n",
		d, s.faults, stats.Recoveries, stats.LongRecovery.Round(time.Millisecond), stats.Logins,
		s.signatures.Load(), s.sets.Load(), s.made.Load(), s.rotated.Load(), s.destroyed.Load(), s.unavailable.Load())
}

// soak is the load, and what it knows of the keys.
type soak struct {
	t      *testing.T
	m      *faultmodule.Module
	w      *workload
	users  sync.WaitGroup
	faults int

	mu    sync.Mutex
	known map[string]string // thumbprint by JWK kid, of all that was ever seen
	gone  map[string]bool   // kids that were destroyed for certain

	signatures, sets, made, rotated, destroyed, unavailable atomic.Int64
}

// rest waits until the idle sessions have been closed, and returns how many are left.
func (s *soak) rest(t *testing.T) int {
	t.Helper()
	soon(t, func() bool { return s.w.Stats().Idle <= 1 }, "idle sessions stay open")
	return s.m.Sessions()
}

// run starts the users.
func (s *soak) run(ctx context.Context) {
	repeat := func(f func(context.Context) error) {
		s.users.Go(func() {
			for ctx.Err() == nil {
				s.judge(f(context.Background()))
			}
		})
	}
	for range 4 {
		repeat(s.sign)
	}
	repeat(s.w.encrypt)
	repeat(s.w.authenticate)
	repeat(s.publish)
	for range 2 {
		repeat(s.living())
	}
}

// judge looks at what a user's call returned.
func (s *soak) judge(err error) {
	switch {
	case err == nil:
	case provider.IsOutage(err):
		s.unavailable.Add(1)
		time.Sleep(time.Millisecond)
	case errors.Is(err, provider.ErrInvalid) && !errors.Is(err, errLie):
		s.unavailable.Add(1) // of a decryption or MAC that failed for no reason, see explain
	default:
		s.t.Errorf("want success or ErrUnavailable: %v", err)
	}
}

func (s *soak) sign(ctx context.Context) error {
	err := s.w.sign(ctx, []provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519}[rand.N(2)])
	if err == nil {
		s.signatures.Add(1)
	}
	return err
}

// see notes the public key of a version, and compares it with what was seen before.
func (s *soak) see(jwkKID, thumbprint string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.known[jwkKID]; was != "" && was != thumbprint {
		return fmt.Errorf("%w: %s was another key before", errLie, jwkKID)
	}
	s.known[jwkKID] = thumbprint
	return nil
}

// publish reads the JWKS.
func (s *soak) publish(ctx context.Context) error {
	s.mu.Lock()
	gone := maps.Clone(s.gone)
	s.mu.Unlock()
	set, err := s.w.JWKS(ctx, "")
	if err != nil {
		return err
	}
	s.sets.Add(1)
	kids := map[string]bool{}
	for _, jwk := range set.Keys() {
		kids[jwk.Ref().KID] = true
		if gone[jwk.Ref().KID] {
			return fmt.Errorf("%w: %s is published after it was destroyed", errLie, jwk.JWKKID())
		}
		if err := s.see(jwk.JWKKID(), jwk.Thumbprint()); err != nil {
			return err
		}
	}
	for _, want := range s.w.jwks {
		if !kids[want.Ref().KID] {
			return fmt.Errorf("%w: a key is missing in the JWKS", errLie)
		}
	}
	return nil
}

// living makes keys, one after the other. What a life that was cut short has left behind is destroyed before the next one begins.
func (s *soak) living() func(context.Context) error {
	kid := ""
	return func(ctx context.Context) error {
		if kid != "" {
			_, err := s.w.DestroyKey(ctx, kid, provider.AllVersions)
			if err != nil && !errors.Is(err, provider.ErrNotFound) { // it may not have been made, or be destroyed already
				return err
			}
			s.bury(kid)
		}
		kid = provider.NewKID()
		err := s.live(ctx, kid)
		if err == nil {
			kid = ""
		}
		return err
	}
}

// live is the life of one key.
func (s *soak) live(ctx context.Context, kid string) error {
	ref, err := s.w.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
	if err != nil {
		return err
	}
	s.made.Add(1)
	for range 2 {
		if err := s.use(ctx, ref); err != nil {
			return err
		}
		next, err := s.w.RotateKey(ctx, kid, provider.Rotation{})
		if err != nil {
			return err
		}
		if next.Version <= ref.Version {
			return fmt.Errorf("%w: version %d after %d", errLie, next.Version, ref.Version)
		}
		ref = next
		s.rotated.Add(1)
	}
	if _, err := s.w.DestroyKey(ctx, kid, provider.AllVersions); err != nil {
		return err
	}
	s.destroyed.Add(1)
	s.bury(kid)
	return nil
}

// bury notes that a key is gone for certain.
func (s *soak) bury(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[kid] = true
}

// use signs with a version that was just made.
func (s *soak) use(ctx context.Context, ref provider.KeyRef) error {
	jwk, err := s.w.PublicJWK(ctx, ref.KID, ref.Version)
	if err != nil {
		return err
	}
	if jwk.Thumbprint() != ref.Fingerprint {
		return fmt.Errorf("%w: another public key than was made", errLie)
	}
	return errors.Join(s.see(jwk.JWKKID(), jwk.Thumbprint()), s.w.signAs(ctx, jwk))
}

// trouble lets something go wrong each second, until ctx ends.
func (s *soak) trouble(ctx context.Context) {
	for pause(ctx, time.Second/2) {
		s.faults++
		mischief[rand.N(len(mischief))](s)
		pause(ctx, rand.N(time.Second/2))
		s.m.Clear()
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// mischief is what goes wrong.
var mischief = []func(*soak){
	func(s *soak) { s.m.DropSessions() },
	func(s *soak) { s.m.DropLogin() },
	func(s *soak) { s.m.Finalize() },
	func(s *soak) { s.m.Remove(faultmodule.Unplugged) },
	func(s *soak) { s.m.Remove(faultmodule.Unreachable) },
	func(s *soak) { s.m.On().Hang() },
	func(s *soak) { s.m.On("C_Sign").Hang() },
	func(s *soak) { s.m.On().Delay(time.Millisecond) },
	func(s *soak) { s.some().Fail(soakCodes[rand.N(len(soakCodes))]) },
	func(s *soak) { s.some().Fail(soakCodes[rand.N(len(soakCodes))]) },
	func(s *soak) { s.some().Lose(0x30) },
}

// some is a function or all of them, for a few calls. Sessions that the token refuses to close would stay.
func (s *soak) some() faultmodule.Plan {
	called := slices.DeleteFunc(slices.Sorted(maps.Keys(s.m.Calls())), func(name string) bool {
		return name == "C_CloseSession" || name == "C_GetFunctionList"
	})
	return s.m.On(called[rand.N(len(called))]).After(rand.N(10)).Times(1 + rand.N(20))
}

// soakCodes are the codes that tell of a token that is not well. The others tell of the caller or the PIN.
var soakCodes = func() (codes []uint) {
	for code, info := range codeTable {
		if info.class.doubtful() || info.class == classBusy {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}()

// clear destroys what the users have left behind.
func (s *soak) clear(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	list, err := s.w.ListKeys(ctx)
	require.NoError(t, err)
	require.Empty(t, list.Problems)
	for _, ref := range list.Keys {
		if s.w.refs[ref.Alg].KID == ref.KID {
			continue
		}
		require.False(t, s.gone[ref.KID], "it was destroyed")
		if ref.Alg.Signs() {
			require.NoError(t, s.use(ctx, ref))
		}
		_, err := s.w.DestroyKey(ctx, ref.KID, provider.AllVersions)
		require.NoError(t, err)
	}
}
