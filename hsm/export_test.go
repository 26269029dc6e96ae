//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// exportable makes a key whose policy lets it out.
func exportable(t *testing.T, token *Token, alg provider.KeyAlg) provider.KeyRef {
	t.Helper()
	spec := provider.KeySpec{Alg: alg, Export: provider.ExportSecretWhenAllowed}
	if alg.KeyType() == "RSA" {
		spec.Bits = provider.MinRSABits
	}
	ref, err := token.CreateKey(context.Background(), spec)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := token.DestroyKey(context.Background(), ref.KID, provider.AllVersions)
		require.NoError(t, err)
	})
	return ref
}

// PKCS #8 of every length comes out: SoftHSM2 pads what is no multiple of 8 bytes.
func TestExportLeavesTheKeySensitive(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	for _, alg := range provider.Algs() {
		t.Run(string(alg), func(t *testing.T) {
			ref := exportable(t, token, alg)
			secret, err := token.ExportKey(ctx, ref.KID, 1)
			require.NoError(t, err)
			defer secret.Wipe()
			after, err := token.GetKey(ctx, ref.KID, 1)
			require.NoError(t, err)
			require.Equal(t, ref.Evidence, after.Evidence)
			require.True(t, *ref.Evidence.Extractable)
			require.Equal(t, alg.KeyType() != "OKP", *ref.Evidence.Sensitive, "SoftHSM2 wraps no Ed25519 and no X25519 key")
		})
	}
}

// A weaker key than usual is said to be one.
func TestReadableKeyIsAnnounced(t *testing.T) {
	ctx := context.Background()
	var log bytes.Buffer
	cfg := configFor(t, sharedToken)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	token, err := Open(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, token.Close()) })
	const warning = `msg="private key made with CKA_SENSITIVE false`
	for _, alg := range []provider.KeyAlg{provider.Ed25519, provider.X25519} {
		caps, err := token.Capabilities(ctx)
		require.NoError(t, err)
		require.Contains(t, caps.Alg(alg).Note, "CKA_SENSITIVE false")

		log.Reset()
		ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg})
		require.NoError(t, err)
		require.True(t, *ref.Evidence.Sensitive, "policy none")
		require.NotContains(t, log.String(), warning)

		ref = exportable(t, token, alg)
		require.False(t, *ref.Evidence.Sensitive)
		require.Contains(t, log.String(), warning)
		require.Contains(t, log.String(), ref.KID)
	}
}

func TestExportLeavesNothingOnTheToken(t *testing.T) {
	ctx := context.Background()
	token, d := openDetour(t)
	ref := exportable(t, token, provider.ECDSAP256SHA256)
	before, err := token.objects(ctx)
	require.NoError(t, err)
	for _, transported := range []bool{false, true} {
		d.onWrap = func(w wrapping, key *object) (*object, error) { return key, transportIf(transported)(w) }
		_, err = token.ExportKey(ctx, ref.KID, 1)
		require.NoError(t, err)
		after, err := token.objects(ctx)
		require.NoError(t, err)
		require.Equal(t, before, after, "the wrapping keys are gone")
	}
}

func TestWhatExportRefuses(t *testing.T) {
	ctx := context.Background()
	token, d := openDetour(t)
	without := func(absent ...uint) func(map[uint]mechanismInfo) map[uint]mechanismInfo {
		return func(all map[uint]mechanismInfo) map[uint]mechanismInfo {
			left := map[uint]mechanismInfo{}
			for m, info := range all {
				if !slices.Contains(absent, m) {
					left[m] = info
				}
			}
			return left
		}
	}
	adopted := func(extractable bool, export provider.ExportPolicy) func(*testing.T) provider.KeyRef {
		return func(t *testing.T) provider.KeyRef { return adoptRSA(t, token, extractable, export) }
	}
	created := func(alg provider.KeyAlg) func(*testing.T) provider.KeyRef {
		return func(t *testing.T) provider.KeyRef { return exportable(t, token, alg) }
	}
	tests := []struct {
		name       string
		key        func(*testing.T) provider.KeyRef
		mechanisms func(map[uint]mechanismInfo) map[uint]mechanismInfo
		text       string // empty: it is exported
	}{
		{"a key that may leave by policy and can by its attributes", adopted(true, provider.ExportSecretWhenAllowed), nil, ""},
		{"policy none, though the token would wrap it", adopted(true, provider.ExportNone), nil, "has the policy none"},
		{"policy public_only, though the token would wrap it", adopted(true, provider.ExportPublicOnly), nil, "has the policy public_only"},
		{"CKA_EXTRACTABLE false, though the policy would allow it", adopted(false, provider.ExportSecretWhenAllowed), nil, "its CKA_EXTRACTABLE is false"},
		{"a public key that was imported", func(t *testing.T) provider.KeyRef { return importedPublic(t, token) }, nil, "is here without its private half"},
		{"a token without a mechanism that wraps", created(provider.AES256GCM), without(ckmAESKeyWrap, ckmAESKeyWrapPad), "it lacks CKM_AES_KEY_WRAP_KWP"},
		{"AES by the mechanism without padding", created(provider.AES256GCM), without(ckmAESKeyWrapPad), ""},
		{"a pair by the mechanism without padding", created(provider.ECDSAP256SHA256), without(ckmAESKeyWrapPad), "it lacks CKM_AES_KEY_WRAP_KWP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := tt.key(t)
			d.mechanisms = tt.mechanisms
			defer func() { d.mechanisms = nil }()
			secret, err := token.ExportKey(ctx, ref.KID, 1)
			if tt.text == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, provider.ErrNotExportable)
			require.ErrorContains(t, err, tt.text)
			require.NotErrorIs(t, err, provider.ErrUnsupported)
			require.True(t, secret.Empty())
		})
	}
}

// importedPublic imports a public key whose policy would let its private half out.
func importedPublic(t *testing.T, token *Token) provider.KeyRef {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	material, err := provider.PublicMaterial(public)
	require.NoError(t, err)
	ref, err := token.ImportKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed}, material)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := token.DestroyKey(context.Background(), ref.KID, provider.AllVersions)
		require.NoError(t, err)
	})
	return ref
}

// adoptRSA makes an RSA key as another tool would, with CKA_EXTRACTABLE as given and CKA_SENSITIVE the contrary, and adopts it.
func adoptRSA(t *testing.T, token *Token, extractable bool, export provider.ExportPolicy) provider.KeyRef {
	t.Helper()
	ctx := context.Background()
	id := []byte(provider.NewKID())
	err := token.link.generate(ctx, generation{
		alg: generateRSA, bits: provider.MinRSABits,
		public:  []attribute{{ckaToken, true}, {ckaID, id}, {ckaPrivate, false}, {ckaVerify, true}},
		private: []attribute{{ckaToken, true}, {ckaID, id}, {ckaPrivate, true}, {ckaSensitive, !extractable}, {ckaExtractable, extractable}, {ckaSign, true}},
	})
	require.NoError(t, err)
	ref, err := token.Adopt(ctx, Adoption{ID: id, Alg: provider.RSAPSSSHA256, Uses: []provider.KeyUse{provider.UseSign, provider.UseVerify}, Export: export})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := token.DestroyKey(ctx, ref.KID, provider.AllVersions)
		require.NoError(t, err)
	})
	return ref
}

// A token that hands out another key than it was asked for is found out before the key goes anywhere.
func TestExportOfAnotherKeyIsNoticed(t *testing.T) {
	ctx := context.Background()
	token, d := openDetour(t)
	for _, algs := range [][2]provider.KeyAlg{
		{provider.AES256GCM, provider.AES256GCM}, {provider.HMACSHA256, provider.HMACSHA256}, {provider.HMACSHA256, provider.ECDSAP256SHA256},
		{provider.ECDSAP256SHA256, provider.ECDSAP256SHA256}, {provider.RSAPKCS1SHA256, provider.RSAPKCS1SHA256},
	} {
		t.Run(fmt.Sprintf("%s for %s", algs[1], algs[0]), func(t *testing.T) {
			ref, other := exportable(t, token, algs[0]), exportable(t, token, algs[1])
			_, swapped, err := token.lookupVersion(ctx, other.KID, 1)
			require.NoError(t, err)
			var kek []byte
			d.onWrap = func(w wrapping, _ *object) (*object, error) { kek = w.kek; return swapped.private, nil }
			secret, err := token.ExportKey(ctx, ref.KID, 1)
			require.ErrorIs(t, err, provider.ErrTampered)
			require.True(t, secret.Empty())
			require.Equal(t, make([]byte, 32), kek, "the wrapping key is wiped")
		})
	}
}

func TestExportSurvivesANewConnection(t *testing.T) {
	ctx := context.Background()
	token, d := openDetour(t)
	ref := exportable(t, token, provider.ECDSAP256SHA256)
	moved := false
	d.onWrap = func(_ wrapping, key *object) (*object, error) {
		if moved {
			return key, nil
		}
		moved = true
		stale := *key
		stale.epoch--
		return &stale, nil
	}
	_, err := token.ExportKey(ctx, ref.KID, 1)
	require.NoError(t, err)
	require.True(t, moved)
}
