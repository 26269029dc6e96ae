//go:build cgo && unix

package hsm

import (
	"context"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// A module that takes no secret key in plain text has the wrapping key transported; what is left of any failure is gone with its
// session.
func TestFaultsOfAnExport(t *testing.T) {
	const forEver = 0
	tests := []struct {
		name  string
		call  string
		times int
		code  uint
		want  error // of the export during the fault
	}{
		{"no wrapping key in plain text", "C_CreateObject", forEver, pkcs11.CKR_TEMPLATE_INCONSISTENT, nil},
		{"no wrapping key in plain text, nor a pair to transport one", "C_CreateObject C_GenerateKeyPair", forEver, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, provider.ErrNotExportable},
		{"the wrapping key stays", "C_DestroyObject", forEver, pkcs11.CKR_FUNCTION_FAILED, nil},
		{"the token refuses to wrap", "C_WrapKey", forEver, pkcs11.CKR_KEY_NOT_WRAPPABLE, provider.ErrNotExportable},
		{"the mechanism is listed only", "C_WrapKey", forEver, pkcs11.CKR_MECHANISM_INVALID, provider.ErrNotExportable},
		{"the token does not tell whether the key may leave", "C_GetAttributeValue", forEver, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, provider.ErrNotExportable},
		{"the session ends under it", "C_WrapKey", 1, pkcs11.CKR_SESSION_HANDLE_INVALID, nil},
		{"the key's handle ends under it", "C_WrapKey", 1, pkcs11.CKR_KEY_HANDLE_INVALID, nil},
		{"the token gives no answer", "C_WrapKey", 1, pkcs11.CKR_DEVICE_ERROR, provider.ErrUnavailable},
	}
	ctx := context.Background()
	f := openFaulty(t, func(c *Config) { c.Timeout = DefaultTimeout }) // pairs are made
	ref := exportable(t, f.Token, provider.ECDSAP256SHA256)
	export := func(ctx context.Context) error {
		secret, err := f.ExportKey(ctx, ref.KID, 1)
		secret.Wipe()
		return err
	}
	before, err := f.objects(ctx)
	require.NoError(t, err)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fault := f.m.On(strings.Fields(tt.call)...)
			if tt.times != forEver {
				fault = fault.Times(tt.times)
			}
			fault.Fail(tt.code)
			err := export(ctx)
			f.m.Clear()
			require.ErrorIs(t, err, tt.want)
			comesBack(t, export)
			after, err := f.objects(ctx)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
}

// What is read, or compared, after the key has left is no refusal either if there is no answer.
func TestAnExportThatIsCutOffIsAnOutage(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, func(c *Config) { c.Timeout = DefaultTimeout })
	for _, tt := range []struct {
		name string
		alg  provider.KeyAlg
		call string
	}{
		{"while a value is read", provider.Ed25519, "C_GetAttributeValue"},
		{"while a code of HMAC is compared", provider.HMACSHA256, "C_SignInit"},
		{"while a ciphertext is compared", provider.AES256GCM, "C_EncryptInit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := exportable(t, f.Token, tt.alg)
			export := func(ctx context.Context) error {
				secret, err := f.ExportKey(ctx, ref.KID, 1)
				require.Equal(t, err != nil, secret.Empty())
				return err
			}
			require.NoError(t, export(ctx))
			fault := f.m.On(tt.call).Times(1).Fail(pkcs11.CKR_DEVICE_ERROR)
			require.ErrorIs(t, export(ctx), provider.ErrUnavailable)
			require.EqualValues(t, 1, fault.Hits())
			comesBack(t, export)
		})
	}
}

func TestAnExportThatHangsGivesItsCallerBackAndLeavesNothing(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, hanging)
	ref := exportable(t, f.Token, provider.ECDSAP256SHA256)
	before, err := f.objects(ctx)
	require.NoError(t, err)
	export := func(ctx context.Context) error {
		_, err := f.ExportKey(ctx, ref.KID, 1)
		return err
	}
	hang := f.m.On("C_WrapKey").Hang()
	require.ErrorIs(t, export(ctx), provider.ErrUnavailable)
	require.Equal(t, 1, hang.Waiting())
	hang.Release()
	comesBack(t, export)
	soon(t, func() bool {
		after, err := f.objects(ctx)
		return err == nil && len(after) == len(before)
	}, "a wrapping key is left")
}
