//go:build cgo

package hsm

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// pairOn makes a key that the test destroys itself.
func pairOn(t *testing.T, token *Token) provider.KeyRef {
	t.Helper()
	ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	return ref
}

// recordsOf returns the records that stand on the token for a kid.
func recordsOf(t *testing.T, token *Token, kid string) []*located {
	t.Helper()
	objects, err := token.findRecords(t.Context(), kid)
	require.NoError(t, err)
	records, damaged := locate(objects)
	require.Empty(t, damaged)
	return records
}

// isDestroyed looks whether nothing is left of a key but its tombstone.
func isDestroyed(t *testing.T, token *Token, kid string) {
	t.Helper()
	require.Len(t, objectsOf(t, token, kid), 1)
	require.Equal(t, destroyed, recordsOf(t, token, kid)[0].Stage)
}

func TestATombstoneSaysWhatTheVersionWas(t *testing.T) {
	token := open(t, sharedToken)
	ref := pairOn(t, token)
	next, err := token.RotateKey(t.Context(), ref.KID, provider.Rotation{})
	require.NoError(t, err)
	k, err := token.reload(t.Context(), ref.KID)
	require.NoError(t, err)
	want := *k.records[1].record
	want.Stage, want.Fingerprint = destroyed, ""
	_, err = token.DestroyKey(t.Context(), ref.KID, next.Version)
	require.NoError(t, err)
	require.NotZero(t, want.RetireAfter)
	for _, r := range recordsOf(t, token, ref.KID) {
		if r.Version == next.Version {
			require.Equal(t, want, *r.record)
		}
	}
	_, err = token.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
	require.NoError(t, err)
}

func TestNothingIsDestroyedWithoutATombstone(t *testing.T) {
	token, d := openDetour(t)
	ref := pairOn(t, token)
	d.onCreate = func([]attribute) error { return fmt.Errorf("%w: away", provider.ErrUnavailable) }
	done, err := token.DestroyKey(t.Context(), ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.Empty(t, done.Versions)
	requireSigns(t, token, ref)
	d.onCreate = nil
	_, err = token.DestroyKey(t.Context(), ref.KID, 1)
	require.NoError(t, err)
}

func TestADestroyOfAllEndsAtAVersionThatTheTokenKeeps(t *testing.T) {
	for kept, want := range map[int][]int{1: nil, 2: {1}} {
		t.Run(fmt.Sprintf("version %d", kept), func(t *testing.T) {
			token, d := openDetour(t)
			refs := []provider.KeyRef{pairOn(t, token)}
			for range 2 {
				next, err := token.RotateKey(t.Context(), refs[0].KID, provider.Rotation{Windows: &provider.Windows{PublishBefore: time.Hour}})
				require.NoError(t, err)
				refs = append(refs, next)
			}
			d.onDestroy = func(o *object) error {
				if o.class == ckoPrivateKey && o.label == objectLabel(refs[0].KID, kept) {
					return &Error{Call: "C_DestroyObject", Code: 0x1B}
				}
				return nil
			}
			done, err := token.DestroyKey(t.Context(), refs[0].KID, provider.AllVersions)
			require.ErrorIs(t, err, provider.ErrUnsupported)
			require.Equal(t, want, done.Versions, "what was destroyed before it")
			for _, ref := range refs[kept-1:] {
				requireSigns(t, token, ref)
			}
			d.onDestroy = nil
			done, err = token.DestroyKey(t.Context(), refs[0].KID, provider.AllVersions)
			require.NoError(t, err)
			require.Len(t, done.Versions, len(refs)+1-kept)
		})
	}
}

// After an outage nobody knows whether the key is gone, so it stays destroyed.
func TestADestroyThatAnOutageCutsOffIsADestroy(t *testing.T) {
	token, d := openDetour(t)
	ref := pairOn(t, token)
	d.onDestroy = func(o *object) error {
		if o.class == ckoPrivateKey {
			return &Error{Call: "C_DestroyObject", Code: 0x30}
		}
		return nil
	}
	done, err := token.DestroyKey(t.Context(), ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.Empty(t, done.Versions)
	_, err = token.GetKey(t.Context(), ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = token.DestroyKey(t.Context(), ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrUnavailable, "that it is not found would be taken for gone")
	d.onDestroy = nil
	_, err = token.DestroyKey(t.Context(), ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	isDestroyed(t, token, ref.KID)
}

func TestADestroyIsFinishedWithoutItsCaller(t *testing.T) {
	token, d := openDetour(t)
	ref := pairOn(t, token)
	ctx, cancel := context.WithCancel(t.Context())
	d.onDestroy = func(*object) error { cancel(); return nil }
	_, err := token.DestroyKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, context.Canceled)
	isDestroyed(t, token, ref.KID)
}

func TestADestroyFindsItsObjectsAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alg   provider.KeyAlg
		class uint
	}{
		{"the private key", provider.ECDSAP256SHA256, ckoPrivateKey},
		{"the public key", provider.ECDSAP256SHA256, ckoPublicKey},
		{"the secret key", provider.AES256GCM, ckoSecretKey},
		{"the record", provider.AES256GCM, ckoData},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, d := openDetour(t)
			ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: tt.alg})
			require.NoError(t, err)
			moved := d.moveTwice(tt.class)
			done, err := token.DestroyKey(t.Context(), ref.KID, 1)
			require.NoError(t, err)
			require.Equal(t, []int{1}, done.Versions)
			require.Equal(t, 2, *moved)
			isDestroyed(t, token, ref.KID)
		})
	}
}
