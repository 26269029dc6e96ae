//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// inTheMaking returns the first version of a new key as it is before it is live: what it holds is not found again under its name.
func inTheMaking(t *testing.T, token *Token, alg provider.KeyAlg) *version {
	t.Helper()
	k, err := token.reload(t.Context(), createKey(t, token, alg).KID)
	require.NoError(t, err)
	v := *k.versions[0]
	v.located = &located{record: v.record}
	return &v
}

func TestHalvesOfTwoKeysAreNoPair(t *testing.T) {
	token := open(t, sharedToken)
	for _, alg := range []provider.KeyAlg{
		provider.ECDSAP256SHA256, provider.Ed25519, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256, provider.RSAOAEPSHA256, provider.X25519,
	} {
		t.Run(string(alg), func(t *testing.T) {
			v, other := inTheMaking(t, token, alg), inTheMaking(t, token, alg)
			require.NoError(t, token.prove(t.Context(), v))
			v.private = other.private
			require.ErrorIs(t, token.prove(t.Context(), v), provider.ErrTampered)
		})
	}
}

// garbled spoils what the token returns without an error.
type garbled struct{ link }

func (g garbled) decrypt(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error) {
	out, err := g.link.decrypt(ctx, key, m, data)
	return bytes.Repeat([]byte{1}, len(out)), err
}

func (g garbled) sign(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error) {
	out, err := g.link.sign(ctx, key, m, data)
	return out[:len(out)/2], err
}

// misjudging takes nothing for its own.
type misjudging struct{ link }

func (m misjudging) decrypt(context.Context, *object, mechanism, []byte) ([]byte, error) {
	return nil, &Error{Call: "C_Decrypt", Code: 0x40}
}

func (m misjudging) verify(context.Context, *object, mechanism, []byte, []byte) error {
	return &Error{Call: "C_Verify", Code: 0xC0}
}

func TestASecretKeyThatDoesNotWorkIsNotProved(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alg   provider.KeyAlg
		spoil func(link) link
	}{
		{"another message comes back", provider.AES256GCM, func(l link) link { return garbled{l} }},
		{"the token refuses its own message", provider.AES256GCM, func(l link) link { return misjudging{l} }},
		{"a code is cut short", provider.HMACSHA256, func(l link) link { return garbled{l} }},
		{"the token refuses its own code", provider.HMACSHA256, func(l link) link { return misjudging{l} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := open(t, sharedToken)
			v := inTheMaking(t, token, tt.alg)
			good := token.link
			token.link = tt.spoil(good)
			err := token.prove(t.Context(), v)
			token.link = good
			require.ErrorIs(t, err, provider.ErrTampered)
		})
	}
}

// A token that shows another public key under the CKA_ID of the new pair would have us publish it.
func TestAKeyThatIsNotProvedIsNotMade(t *testing.T) {
	token, d := openDetour(t)
	other := inTheMaking(t, token, provider.ECDSAP256SHA256)
	_, point, err := encodeECPublic(other.public)
	require.NoError(t, err)
	d.onFind = func(match []attribute, found []*object) ([]*object, error) {
		if len(match) == 1 && match[0].typ == ckaID {
			for _, o := range found {
				if o.class == ckoPublicKey {
					o.ecPoint = slices.Clone(point)
				}
			}
		}
		return found, nil
	}
	kid := provider.NewKID()
	_, err = token.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrTampered)
	require.ErrorContains(t, err, "what one use of the key made does not fit another")
	d.onFind = nil
	require.Empty(t, objectsOf(t, token, kid))
}

func TestAKeyIsProvedAsFarAsItsUsesAllow(t *testing.T) {
	token := open(t, sharedToken)
	for _, tt := range []struct {
		alg provider.KeyAlg
		use provider.KeyUse
	}{
		{provider.ECDSAP256SHA256, provider.UseVerify},
		{provider.RSAOAEPSHA256, provider.UseEncrypt},
		{provider.AES256GCM, provider.UseEncrypt},
		{provider.AES256GCM, provider.UseDecrypt},
		{provider.HMACSHA256, provider.UseSign},
		{provider.HMACSHA256, provider.UseVerify},
	} {
		ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: tt.alg, Uses: []provider.KeyUse{tt.use}})
		require.NoError(t, err, "%s to %s alone", tt.alg, tt.use)
		_, err = token.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
		require.NoError(t, err)
	}
}
