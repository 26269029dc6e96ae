//go:build cgo && unix

package hsm

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// forget makes the next read ask the token for all its objects.
func (f faultyToken) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idx.at = time.Time{}
}

// A token may be there, and fail to show an object for a while: what it does not show must not pass for gone, damaged, never made or
// destroyed.
func TestAnObjectThatIsNotShownIsNotGone(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, nil)
	ref, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	id := keyID(t, f.Token, ref.KID)
	secret, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.AES256GCM})
	require.NoError(t, err)
	bare, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.RSAPKCS1SHA256, Bits: 2048})
	require.NoError(t, err)
	loseThePublicObject(t, f.Token, keyID(t, f.Token, bare.KID))
	reads := map[string]func() error{
		"a look at the token":                     func() error { f.forget(); _, err := f.GetKey(ctx, ref.KID, 0); return err },
		"a look at the key":                       func() error { return served(f.reloadExcept(ctx, ref.KID, nil)) },
		"a secret key":                            func() error { f.forget(); _, err := f.GetKey(ctx, secret.KID, 0); return err },
		"a public key":                            func() error { f.forget(); _, err := f.PublicJWK(ctx, ref.KID, 0); return err },
		"a public key that the private one tells": func() error { return served(f.reloadExcept(ctx, bare.KID, nil)) },
		"a version not known":                     func() error { _, err := f.GetKey(ctx, ref.KID, 2); return notFoundOK(err) },
		"a search for a CKA_ID": func() error {
			objects, err := f.link.find(ctx, attribute{ckaID, id})
			if err == nil && len(objects) != 2 {
				err = fmt.Errorf("%d objects: want 2", len(objects))
			}
			return err
		},
		"a key set": func() error {
			f.forget()
			set, err := f.JWKS(ctx, "")
			if err != nil {
				return err
			}
			for _, k := range set.Keys() {
				if k.Ref().KID == ref.KID {
					return nil
				}
			}
			return errors.New("the key is missing")
		},
	}
	const forEver = 0
	for _, fault := range []struct {
		code  uint
		times int
	}{
		{pkcs11.CKR_DEVICE_ERROR, 1}, {pkcs11.CKR_DEVICE_ERROR, 2}, {pkcs11.CKR_DEVICE_ERROR, 4}, {pkcs11.CKR_DEVICE_MEMORY, 5},
		{pkcs11.CKR_GENERAL_ERROR, 7}, {pkcs11.CKR_DEVICE_ERROR, 30}, {pkcs11.CKR_DEVICE_ERROR, forEver},
	} {
		for after := range 8 {
			for name, read := range reads {
				f.m.On("C_GetAttributeValue").After(after).Times(fault.times).Fail(fault.code)
				err := read()
				f.m.Clear()
				if err != nil {
					require.ErrorIs(t, err, provider.ErrUnavailable, "%s: %s after %d calls, %d times", name, codeName(fault.code), after, fault.times)
					require.NotErrorIs(t, err, provider.ErrTampered)
				}
			}
		}
	}
}

// served returns why the latest version of a key is not served.
func served(k *key, err error) error {
	if err == nil {
		_, err = k.find(0)
	}
	return err
}

func notFoundOK(err error) error {
	if errors.Is(err, provider.ErrNotFound) {
		return nil
	}
	return err
}

// What is destroyed meanwhile is gone, or was not destroyed.
func TestADestroyDoesNotMissAnObject(t *testing.T) {
	ctx := context.Background()
	f := openFaulty(t, nil)
	for _, times := range []int{1, 5, 40} {
		for after := range 24 {
			ref, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
			require.NoError(t, err)
			id := keyID(t, f.Token, ref.KID)
			f.m.On("C_GetAttributeValue").After(after).Times(times).Fail(pkcs11.CKR_DEVICE_ERROR)
			_, err = f.DestroyKey(ctx, ref.KID, provider.AllVersions)
			f.m.Clear()
			if err != nil {
				require.ErrorIs(t, err, provider.ErrUnavailable)
				_, err = f.DestroyKey(ctx, ref.KID, provider.AllVersions)
				require.NoError(t, notFoundOK(err))
			}
			left, err := f.link.find(ctx, attribute{ckaID, id})
			require.NoError(t, err)
			require.Empty(t, left, "%d times after %d calls", times, after)
		}
	}
}

// keyID is the CKA_ID of the first version.
func keyID(t *testing.T, token *Token, kid string) []byte {
	t.Helper()
	_, v, err := token.lookupVersion(context.Background(), kid, 1)
	require.NoError(t, err)
	return v.idBytes()
}

func loseThePublicObject(t *testing.T, token *Token, id []byte) {
	t.Helper()
	objects, err := token.link.find(context.Background(), attribute{ckaID, id}, attribute{ckaClass, uint(ckoPublicKey)})
	require.NoError(t, err)
	require.Len(t, objects, 1)
	require.NoError(t, token.link.destroy(context.Background(), objects[0]))
}

// A token with thousands of keys is tidied in the time that it takes to read it.
func TestTidyingAsksForNoKeyThatIsWell(t *testing.T) {
	f := openFaulty(t, nil)
	searches := func() int {
		calls := f.m.During(func() {
			_, err := f.Tidy(t.Context(), time.Hour)
			require.NoError(t, err)
		})
		return calls["C_FindObjectsInit"]
	}
	searches() // what other tests have left
	before := searches()
	for range 3 {
		_, err := f.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519})
		require.NoError(t, err)
	}
	require.Equal(t, before, searches())
}
