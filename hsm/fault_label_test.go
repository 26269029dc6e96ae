//go:build cgo && unix

package hsm

import (
	"context"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// A version has the old label on both halves, or the new one, whatever fails on the way.
func TestFaultsOfALabel(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, nil)
	ref, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	old := ref.KID + ".v1"
	tests := []struct {
		name  string
		after int // calls that are well
		code  uint
		want  error
		label string // of both halves afterwards
	}{
		{"the first half is read-only", 0, pkcs11.CKR_ATTRIBUTE_READ_ONLY, provider.ErrUnsupported, old},
		{"the second half is read-only", 1, pkcs11.CKR_ATTRIBUTE_READ_ONLY, provider.ErrUnsupported, old},
		{"the second half may not be changed", 1, pkcs11.CKR_ACTION_PROHIBITED, provider.ErrUnsupported, old},
		{"the token gives no answer about the second half", 1, pkcs11.CKR_DEVICE_ERROR, provider.ErrUnavailable, old},
		{"the session ends before the first half", 0, pkcs11.CKR_SESSION_HANDLE_INVALID, nil, "web"},
		{"the login ends before the second half", 1, pkcs11.CKR_USER_NOT_LOGGED_IN, nil, "web"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fault := f.m.On("C_SetAttributeValue").After(tt.after).Times(1)
			fault.Fail(tt.code)
			_, err := f.Relabel(ctx, ref.KID, 1, "web")
			f.m.Clear()
			require.ErrorIs(t, err, tt.want)
			comesBack(t, f.Health)
			require.Equal(t, map[string][]string{"CKO_PRIVATE_KEY": {tt.label}, "CKO_PUBLIC_KEY": {tt.label}}, labelsOf(t, f.Token, ref))
			_, err = f.Relabel(ctx, ref.KID, 1, old)
			require.NoError(t, err)
		})
	}
	t.Run("a token that refuses for ever says which label is changed", func(t *testing.T) {
		f.m.On("C_SetAttributeValue").After(1).Fail(pkcs11.CKR_ATTRIBUTE_READ_ONLY)
		_, err := f.Relabel(ctx, ref.KID, 1, "web")
		f.m.Clear()
		require.ErrorIs(t, err, provider.ErrUnsupported)
		require.ErrorContains(t, err, `(and the label of CKO_PUBLIC_KEY stays "web")`)
		_, err = f.Relabel(ctx, ref.KID, 1, "web")
		require.NoError(t, err, "and it can be asked again")
	})
	t.Run("a token that says yes and does nothing", func(t *testing.T) {
		f.m.On("C_SetAttributeValue").Fail(pkcs11.CKR_OK)
		_, err := f.Relabel(ctx, ref.KID, 1, "another")
		f.m.Clear()
		require.ErrorIs(t, err, provider.ErrUnsupported)
		require.ErrorContains(t, err, `the token says that its label is set, and still shows "web"`)
	})
	t.Run("an answer that is lost", func(t *testing.T) {
		f.m.On("C_SetAttributeValue").After(1).Times(1).Lose(pkcs11.CKR_DEVICE_ERROR)
		_, err := f.Relabel(ctx, ref.KID, 1, "another")
		f.m.Clear()
		require.ErrorIs(t, err, provider.ErrUnavailable)
		comesBack(t, f.Health)
		require.Equal(t, map[string][]string{"CKO_PRIVATE_KEY": {"web"}, "CKO_PUBLIC_KEY": {"web"}}, labelsOf(t, f.Token, ref))
	})
}
