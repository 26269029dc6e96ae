package providertest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func newKey(t *testing.T, f *Fake, alg provider.KeyAlg) provider.KeyRef {
	t.Helper()
	ref, err := f.CreateKey(t.Context(), provider.KeySpec{Alg: alg})
	require.NoError(t, err)
	return ref
}

func is[T any](p provider.Provider) bool { _, ok := p.(T); return ok }

func openFake(t *testing.T) *Fake {
	f := NewFake(t)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func TestUnpluggedFakeGivesNoAnswerAndKeepsItsKeys(t *testing.T) {
	f := openFake(t)
	ref := newKey(t, f, provider.Ed25519)
	signer, err := f.Signer(t.Context(), ref.KID, 0)
	require.NoError(t, err)

	f.Unplug()
	_, err = f.GetKey(t.Context(), ref.KID, 0)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	_, err = f.GetKey(t.Context(), "nothing-of-this-name", 0)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.NotErrorIs(t, err, provider.ErrNotFound)
	_, err = signer.Sign(nil, []byte("m"), ref.Alg.SignerOpts())
	require.ErrorIs(t, err, provider.ErrUnavailable)

	f.Plug()
	_, err = f.GetKey(t.Context(), ref.KID, 0)
	require.NoError(t, err)
	_, err = signer.Sign(nil, []byte("m"), ref.Alg.SignerOpts())
	require.NoError(t, err)
}

func TestHungCallEndsWithItsContextOrReleaseOrClose(t *testing.T) {
	tests := []struct {
		name string
		end  func(*Fake, context.CancelFunc)
		want error
	}{
		{"the context ends", func(_ *Fake, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"released, the call goes on", func(f *Fake, _ context.CancelFunc) { f.Release() }, provider.ErrNotFound},
		{"released while unplugged, it finds nothing", func(f *Fake, _ context.CancelFunc) { f.Unplug(); f.Release() }, provider.ErrUnavailable},
		{"closed", func(f *Fake, _ context.CancelFunc) { _ = f.Close() }, provider.ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := openFake(t)
				f.Hang("GetKey")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got := make(chan error, 1)
				go func() {
					_, err := f.GetKey(ctx, "k", 0)
					got <- err
				}()
				synctest.Wait()
				require.Empty(t, got, "the call hangs")
				_, err := f.ListKeys(ctx)
				require.NoError(t, err, "others do not")
				tt.end(f, cancel)
				require.ErrorIs(t, <-got, tt.want)
			})
		})
	}
}

func TestRefuseAnswersTheErrorUntilTakenBack(t *testing.T) {
	f := openFake(t)
	wrong := errors.New("out of paper")
	f.Refuse(wrong, "ListKeys")
	_, err := f.ListKeys(t.Context())
	require.ErrorIs(t, err, wrong)
	_, err = f.JWKS(t.Context(), "")
	require.NoError(t, err)
	f.Refuse(nil)
	_, err = f.ListKeys(t.Context())
	require.NoError(t, err)
}

func TestCallsAreCountedByMethodAndThroughEveryHandle(t *testing.T) {
	f := openFake(t)
	ref := newKey(t, f, provider.Ed25519)
	other := f.Reopen()
	_, err := other.PublicJWK(t.Context(), ref.KID, 0)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	_, err = f.PublicJWK(t.Context(), "", 0)
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.Equal(t, 2, f.Calls("PublicJWK"))
	require.Equal(t, 3, f.Calls())
	require.Equal(t, 1, f.Calls("Close"))
	f.ResetCalls()
	require.Zero(t, f.Calls())
	require.Panics(t, func() { f.Calls("PublicJwk") }, "a misspelt name would always count zero")
}

func TestForgottenVersionLeavesNoTrace(t *testing.T) {
	f := openFake(t)
	ref := newKey(t, f, provider.Ed25519)
	f.Forget(ref.KID, 1)
	_, err := f.GetKey(t.Context(), ref.KID, 0)
	require.ErrorIs(t, err, provider.ErrNotFound)
	again, err := f.CreateKey(t.Context(), provider.KeySpec{KID: ref.KID, Alg: ref.Alg})
	require.NoError(t, err)
	require.Equal(t, 1, again.Version, "without a tombstone nothing tells that the number was used")
}

func TestSwappedVersionIsAnotherKeyUnderTheSameName(t *testing.T) {
	f := openFake(t)
	ref := newKey(t, f, provider.ECDSAP256SHA256)
	f.Swap(ref.KID, 1)
	got, err := f.GetKey(t.Context(), ref.KID, 1)
	require.NoError(t, err)
	require.NotEqual(t, ref.Fingerprint, got.Fingerprint)
	require.Equal(t, ref.Alg, got.Alg)
}

func TestPlainFakeHasNoOptionalInterface(t *testing.T) {
	p := openFake(t).Plain()
	for name, ok := range map[string]bool{
		"Signing": is[provider.Signing](p), "Decrypting": is[provider.Decrypting](p), "Encrypting": is[provider.Encrypting](p),
		"Authenticating": is[provider.Authenticating](p), "KeyAgreement": is[provider.KeyAgreement](p), "Exporting": is[provider.Exporting](p),
		"Replica": is[provider.Replica](p), "Checking": is[provider.Checking](p), "Resolving": is[provider.Resolving](p),
	} {
		require.False(t, ok, name)
	}
}

// recorder is a testing.TB that collects what a fake reports at the end of its test.
type recorder struct {
	testing.TB
	cleanup []func()
	errors  int
}

func (r *recorder) Cleanup(f func())      { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Errorf(string, ...any) { r.errors++ }

func TestFakeReportsWhatWasLeftOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		f := NewFake(r)
		f.Hang("ListKeys")
		go func() { _, _ = f.ListKeys(context.Background()) }()
		synctest.Wait()
		r.cleanup[0]()
		require.Equal(t, 2, r.errors, "one handle, one call")

		require.NoError(t, f.Close())
		synctest.Wait()
		r.errors = 0
		r.cleanup[0]()
		require.Zero(t, r.errors)
	})
}

func TestScheduleOfAFakeRunsWithTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFake(t)
		ref := newKey(t, f, provider.Ed25519)
		_, err := f.RotateKey(t.Context(), ref.KID, provider.Rotation{})
		require.NoError(t, err)
		time.Sleep(11 * time.Minute)
		old, err := f.GetKey(t.Context(), ref.KID, 1)
		require.NoError(t, err)
		require.Equal(t, provider.Retiring, old.State)
	})
}
