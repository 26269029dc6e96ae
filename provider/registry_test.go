package provider_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// registered makes f available under a scheme of its own and returns the scheme.
func registered(t *testing.T, open provider.Opener) string {
	t.Helper()
	scheme := "test-" + provider.NewKID()
	provider.Register(scheme, open)
	return scheme
}

func opens(p provider.Provider) provider.Opener {
	return func(context.Context, string) (provider.Provider, error) { return p, nil }
}

func TestOpen(t *testing.T) {
	f := providertest.NewFake(t)
	var got string
	scheme := registered(t, func(_ context.Context, uri string) (provider.Provider, error) { got = uri; return f, nil })
	for _, uri := range []string{scheme + ":", scheme + ":/a/b?pin-source=x", "TEST" + scheme[4:] + ":x"} {
		p, err := provider.Open(t.Context(), uri)
		require.NoError(t, err)
		require.Same(t, f, p)
		require.Equal(t, uri, got, "the store reads the URI as it was given")
	}
	require.True(t, slices.Contains(provider.Schemes(), scheme))
	require.True(t, slices.IsSorted(provider.Schemes()))
	require.NoError(t, f.Close())
}

func TestOpenRefusesWhatNobodyRegistered(t *testing.T) {
	for _, uri := range []string{"", "/some/directory", "nobody:here", ":", "pkcs12:token=x?pin-value=" + pin} {
		_, err := provider.Open(t.Context(), uri)
		require.ErrorIs(t, err, provider.ErrInvalid, uri)
		_, _, err = provider.OpenKey(t.Context(), uri)
		require.ErrorIs(t, err, provider.ErrInvalid, uri)
	}
}

func TestOpenPassesOnTheStoresError(t *testing.T) {
	scheme := registered(t, func(context.Context, string) (provider.Provider, error) { return nil, provider.ErrAuth })
	_, err := provider.Open(t.Context(), scheme+":")
	require.ErrorIs(t, err, provider.ErrAuth)
	_, _, err = provider.OpenKey(t.Context(), scheme+":?kid=k")
	require.ErrorIs(t, err, provider.ErrAuth)
}

func TestOpenForACallerWhoHasGone(t *testing.T) {
	scheme := registered(t, func(context.Context, string) (provider.Provider, error) { panic("opened") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := provider.Open(ctx, scheme+":")
	require.ErrorIs(t, err, context.Canceled)
}

func TestRegisterPanicsAtErrorsOfTheProgram(t *testing.T) {
	scheme := registered(t, opens(nil))
	require.PanicsWithValue(t, "provider: Register called twice for "+scheme, func() { provider.Register(scheme, opens(nil)) })
	require.PanicsWithValue(t, "provider: Register of a nil opener for nil-opener", func() { provider.Register("nil-opener", nil) })
}

// smallstep prints the whole URI, PIN included, when it can't be read.
func TestNoErrorRepeatsTheURI(t *testing.T) {
	f := providertest.NewFake(t)
	scheme := registered(t, func(context.Context, string) (provider.Provider, error) { return f.Reopen(), nil })
	secret := "pin-value=" + pin
	for _, uri := range []string{
		"no scheme?" + secret,
		"nobody:x?" + secret,
		scheme + ":?" + secret,
		scheme + ":?kid=%zz&" + secret,
		scheme + ":?kid=k;" + secret,
		scheme + ":?kid=k&version=x&" + secret,
		scheme + ":?kid=..&" + secret,
		scheme + ":?kid=nothing&" + secret,
	} {
		_, _, err := provider.OpenKey(t.Context(), uri)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "pin-value")
		requireNoPIN(t, err.Error(), uri)
	}
	require.NoError(t, f.Close())
}

func TestOpenKey(t *testing.T) {
	f := providertest.NewFake(t)
	defer func() { require.NoError(t, f.Close()) }()
	first, err := f.CreateKey(t.Context(), provider.KeySpec{KID: "payments", Alg: provider.Ed25519})
	require.NoError(t, err)
	second, err := f.RotateKey(t.Context(), "payments", provider.Rotation{})
	require.NoError(t, err)
	scheme := registered(t, func(context.Context, string) (provider.Provider, error) { return f.Reopen(), nil })

	tests := []struct {
		name, uri string
		want      int
		err       error
	}{
		{"the latest version of a kid", scheme + ":?kid=payments", second.Version, nil},
		{"version 0 is the latest", scheme + ":?kid=payments&version=0", second.Version, nil},
		{"a version of a kid", scheme + ":/dir?x=y&kid=payments&version=1", first.Version, nil},
		{"no such version", scheme + ":?kid=payments&version=3", 0, provider.ErrNotFound},
		{"no such kid", scheme + ":?kid=salaries", 0, provider.ErrNotFound},
		{"a kid that is none", scheme + ":?kid=../x", 0, provider.ErrInvalid},
		{"a negative version", scheme + ":?kid=payments&version=-1", 0, provider.ErrInvalid},
		{"a version that is no number", scheme + ":?kid=payments&version=one", 0, provider.ErrInvalid},
		{"a query that is none", scheme + ":?kid=%", 0, provider.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, ref, err := provider.OpenKey(t.Context(), tt.uri)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err) // and the fake reports a handle that was left open
				require.Nil(t, p)
				require.NotContains(t, err.Error(), "close", "the store was closed without an error")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, ref.Version)
			require.NoError(t, p.Close())
		})
	}
}

func TestParseKeyQuery(t *testing.T) {
	for _, tt := range []struct {
		uri     string
		kid     string
		version int
		err     error
	}{
		{"softfile:/a?kid=payments&version=12", "payments", 12, nil},
		{"softfile:/a?kid=payments", "payments", 0, nil},
		{"softfile:/a?version=1", "", 0, nil},
		{"softfile:/a", "", 0, nil},
		{"softfile:/a?kid=../x", "", 0, provider.ErrInvalid},
		{"softfile:/a?kid=payments&version=-1", "", 0, provider.ErrInvalid},
		{"softfile:/a?kid=payments&version=1.", "", 0, provider.ErrInvalid},
		{"softfile:/a?kid=%zz", "", 0, provider.ErrInvalid},
	} {
		kid, version, err := provider.ParseKeyQuery(tt.uri)
		require.ErrorIs(t, err, tt.err, tt.uri)
		require.Equal(t, tt.kid, kid, tt.uri)
		require.Equal(t, tt.version, version, tt.uri)
	}
}

func TestKeyByURIInTheStoresOwnWay(t *testing.T) {
	f := providertest.NewFake(t)
	defer func() { require.NoError(t, f.Close()) }()
	ref, err := f.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519})
	require.NoError(t, err)
	got, err := provider.KeyByURI(t.Context(), f, f.URI(ref))
	require.NoError(t, err)
	require.Equal(t, ref.Fingerprint, got.Fingerprint)
	_, err = provider.KeyByURI(t.Context(), f.Plain(), f.URI(ref))
	require.ErrorIs(t, err, provider.ErrInvalid, "a store that has no way of its own")
}

func TestOpenKeyTellsThatCloseFailedToo(t *testing.T) {
	f := providertest.NewFake(t)
	stuck := errors.New("stuck")
	f.Refuse(stuck, "Close")
	_, _, err := provider.OpenKey(t.Context(), registered(t, opens(f))+":?kid=nothing")
	require.ErrorIs(t, err, provider.ErrNotFound)
	require.ErrorIs(t, err, stuck)
}
