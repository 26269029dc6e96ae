//go:build cgo

package hsm

import (
	"context"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// NSS has a CKM_AES_KEY_WRAP_KWP whose size query is too small, and pads by PKCS #7 in CKM_AES_KEY_WRAP_PAD. It takes OAEP with SHA-256.
func TestWrappingOnNSS(t *testing.T) {
	ctx := context.Background()
	token, err := Open(ctx, newNSS(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	d := &detour{link: token.link}
	token.link = d
	for _, alg := range []provider.KeyAlg{provider.HMACSHA256, provider.RSAPSSSHA256, provider.ECDSAP521SHA512} {
		t.Run(string(alg)+" leaves", func(t *testing.T) {
			_, err := token.ExportKey(ctx, exportable(t, token, alg).KID, 1)
			require.NoError(t, err)
		})
	}
	imports := []struct {
		name        string
		alg         provider.KeyAlg
		transported bool
	}{
		{"RSA comes in under a key in plain text", provider.RSAPSSSHA256, false},
		{"a secret comes in under a key in plain text", provider.HMACSHA256, false},
		{"a secret comes in under a transported key", provider.HMACSHA256, true},
	}
	for _, tt := range imports {
		t.Run(tt.name, func(t *testing.T) {
			d.onCreate, d.onUnwrap = refuseSecrets, transportIf(tt.transported)
			defer func() { d.onCreate, d.onUnwrap = nil, nil }()
			material := outsideKey(t, tt.alg)
			ref, err := token.ImportKey(ctx, provider.KeySpec{Alg: tt.alg, Export: provider.ExportSecretWhenAllowed}, material)
			require.NoError(t, err)
			secret, err := token.ExportKey(ctx, ref.KID, 1)
			require.NoError(t, err)
			require.Equal(t, material.Private.Expose(), secret.Expose())
		})
	}
}

// NSS wraps a key whatever its CKA_EXTRACTABLE says.
func TestTheModuleIsNotReliedOnForCKAExtractable(t *testing.T) {
	ctx := context.Background()
	token, err := Open(ctx, newNSS(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	ref := adoptRSA(t, token, false, provider.ExportSecretWhenAllowed)
	require.False(t, *ref.Evidence.Extractable)

	_, v, err := token.lookupVersion(ctx, ref.KID, 1)
	require.NoError(t, err)
	c := token.link.(*conn)
	w := wrapping{mechanism: ckmAESKeyWrapPad, kek: make([]byte, 32)}
	err = c.underKEK(ctx, w, ckaWrap, func(_ *member, s pkcs11.SessionHandle, kek pkcs11.ObjectHandle) (pkcs11.ObjectHandle, error) {
		_, err := c.p11.WrapKey(s, plainMechanism(w.mechanism), kek, pkcs11.ObjectHandle(v.private.handle))
		return 0, err
	})
	require.NoError(t, err, "the module would hand it out")

	_, err = token.ExportKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotExportable)
	require.ErrorContains(t, err, "its CKA_EXTRACTABLE is false")
}
