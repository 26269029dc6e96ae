//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// refuseSecrets is a token that takes no private or secret key in plain text, as many do in FIPS mode.
func refuseSecrets(template []attribute) error {
	secret := func(a attribute) bool {
		return a.typ == ckaClass && (a.value == uint(ckoPrivateKey) || a.value == uint(ckoSecretKey))
	}
	carrier := func(a attribute) bool { // of a record, which is made here and no key that comes in
		id, _ := a.value.([]byte)
		return a.typ == ckaID && bytes.HasPrefix(id, []byte(carrierMark))
	}
	if slices.ContainsFunc(template, secret) && !slices.ContainsFunc(template, carrier) {
		return &Error{Call: "C_CreateObject", Code: 0xD1} // CKR_TEMPLATE_INCONSISTENT
	}
	return nil
}

// outsideKey returns a key for alg that was made in this process.
func outsideKey(t *testing.T, alg provider.KeyAlg) provider.KeyMaterial {
	t.Helper()
	var key crypto.PrivateKey
	var err error
	switch alg.KeyType() + alg.Curve() {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, provider.MinRSABits)
	case "ECP-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECP-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECP-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "OKPEd25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		b := make([]byte, map[provider.KeyAlg]int{provider.AES256GCM: 32, provider.HMACSHA256: 33}[alg])
		rand.Read(b)
		return provider.KeyMaterial{Private: provider.NewSecret(b)}
	}
	require.NoError(t, err)
	m, err := provider.Material(key)
	require.NoError(t, err)
	return m
}

// transportIf is a token that takes no AES key in plain text, if needed.
func transportIf(needed bool) func(wrapping) error {
	return func(w wrapping) error {
		if needed && !w.transport {
			return errNoKEK
		}
		return nil
	}
}

func TestImportOfWrappedKeys(t *testing.T) {
	ctx := context.Background()
	token, d := openDetour(t)
	d.onCreate = refuseSecrets
	ways := []struct {
		name        string
		transported bool
		algs        []provider.KeyAlg
	}{
		{"under a key in plain text", false, []provider.KeyAlg{
			provider.AES256GCM, provider.HMACSHA256, provider.RSAOAEPSHA256, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256,
			provider.ECDSAP256SHA256, provider.ECDSAP384SHA384, provider.ECDSAP521SHA512}},
		{"under a transported key", true, []provider.KeyAlg{provider.ECDSAP256SHA256}}, // a secret: on NSS
	}
	for _, way := range ways {
		for _, alg := range way.algs {
			t.Run(string(alg)+" "+way.name, func(t *testing.T) {
				material := outsideKey(t, alg)
				unwrapped := 0
				d.onUnwrap = func(w wrapping) error {
					unwrapped++
					return transportIf(way.transported)(w)
				}
				ref, err := token.ImportKey(ctx, provider.KeySpec{Alg: alg, Export: provider.ExportSecretWhenAllowed}, material)
				require.NoError(t, err) // which means that the pair was proved
				defer func() {
					_, err := token.DestroyKey(ctx, ref.KID, provider.AllVersions)
					require.NoError(t, err)
				}()
				require.NotZero(t, unwrapped)
				require.True(t, ref.Imported)
				require.True(t, *ref.Evidence.Sensitive)
				require.True(t, *ref.Evidence.Extractable)
				secret, err := token.ExportKey(ctx, ref.KID, 1)
				require.NoError(t, err)
				require.Equal(t, material.Private.Expose(), secret.Expose())
			})
		}
	}
}

func TestWrappedImportKeepsThePolicy(t *testing.T) {
	ctx := context.Background()
	token, d := openDetour(t)
	d.onCreate = refuseSecrets
	uses := []provider.KeyUse{provider.UseSign}
	ref, err := token.ImportKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256, Uses: uses}, outsideKey(t, provider.ECDSAP256SHA256))
	require.NoError(t, err)
	defer func() {
		_, err := token.DestroyKey(ctx, ref.KID, provider.AllVersions)
		require.NoError(t, err)
	}()
	require.True(t, *ref.Evidence.Sensitive)
	require.False(t, *ref.Evidence.Extractable)
	require.Equal(t, uses, ref.Uses)
}

func TestWrappedImportThatTheTokenRefuses(t *testing.T) {
	ctx := context.Background()
	token, d := openDetour(t)
	d.onCreate = refuseSecrets
	tests := []struct {
		name       string
		alg        provider.KeyAlg
		mechanisms func(map[uint]mechanismInfo) map[uint]mechanismInfo
		text       string
	}{
		{"a type that SoftHSM2 does not unwrap", provider.Ed25519, nil, "C_UnwrapKey: CKR_FUNCTION_FAILED"},
		{"a token without a mechanism", provider.ECDSAP256SHA256, func(all map[uint]mechanismInfo) map[uint]mechanismInfo {
			return map[uint]mechanismInfo{ckmECDSA: all[ckmECDSA]}
		}, "it lacks CKM_AES_KEY_WRAP_KWP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, err := token.objects(ctx)
			require.NoError(t, err)
			d.mechanisms = tt.mechanisms
			defer func() { d.mechanisms = nil }()
			_, err = token.ImportKey(ctx, provider.KeySpec{Alg: tt.alg}, outsideKey(t, tt.alg))
			require.ErrorIs(t, err, provider.ErrUnsupported)
			require.ErrorContains(t, err, "CKR_TEMPLATE_INCONSISTENT")
			require.ErrorContains(t, err, tt.text)
			after, err := token.objects(ctx)
			require.NoError(t, err)
			require.Equal(t, before, after, "nothing stays")
		})
	}
}
