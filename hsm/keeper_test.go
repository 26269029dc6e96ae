//go:build cgo

package hsm

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestIsRecord(t *testing.T) {
	id := []byte(carrierMark + "{}")
	tests := []struct {
		name   string
		object object
		want   bool
	}{
		{"a private data object of ours", object{class: ckoData, private: true, application: application}, true},
		{"one that is not private", object{class: ckoData, application: application}, false},
		{"another tool's", object{class: ckoData, private: true, application: "another"}, false},
		{"a carrier", object{class: ckoSecretKey, private: true, id: id}, true},
		{"a carrier that is not private", object{class: ckoSecretKey, id: id}, false},
		{"a private key with the mark of a carrier", object{class: ckoPrivateKey, private: true, id: id}, false},
		{"a secret key", object{class: ckoSecretKey, private: true, id: []byte{1}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, tt.object.isRecord()) })
	}
}

// A carrier is good for nothing: nobody knows its value, and it has no use.
func TestACarrierIsNoKey(t *testing.T) {
	values := map[string]bool{}
	for range 2 {
		template, err := record{KID: "k"}.carrierTemplate()
		require.NoError(t, err)
		at := map[uint]any{}
		for _, a := range template {
			at[a.typ] = a.value
		}
		for _, u := range useAttributes {
			require.Equal(t, false, at[u.typ])
		}
		require.Len(t, at[ckaValue], 32)
		values[string(at[ckaValue].([]byte))] = true
	}
	require.Len(t, values, 2)
}

// picky refuses objects of some classes, as a token that has none of them does.
type picky struct {
	link
	refused []uint
}

func (p picky) create(ctx context.Context, template []attribute) error {
	for _, a := range template {
		if class, ok := a.value.(uint); ok && a.typ == ckaClass && slices.Contains(p.refused, class) {
			return &Error{Token: "picky", Call: "C_CreateObject", Code: 0x13}
		}
	}
	return p.link.create(ctx, template)
}

func TestATokenThatKeepsNoRecordMakesNoKey(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	token.link = picky{token.link, []uint{ckoData, ckoSecretKey}}
	token.inData.Store(false)
	kid := provider.NewKID()
	_, err := token.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "the token takes no private object for it: data object: ")
	require.ErrorContains(t, err, "secret key: ")
	all, err := token.objects(ctx)
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(all, func(o Object) bool { return o.Label == objectLabel(kid, 1) || o.KID == kid }))
}

func TestCarriersAreFoundWithoutBeingExpected(t *testing.T) {
	ctx := context.Background()
	kid := provider.NewKID()
	var made provider.KeyRef
	t.Run("made", func(t *testing.T) {
		token := open(t, otherToken)
		token.link = picky{token.link, []uint{ckoData}}
		var err error
		made, err = token.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.Ed25519})
		require.NoError(t, err)
	})
	token := open(t, otherToken)
	next, err := token.RotateKey(ctx, kid, provider.Rotation{}) // the first thing that this Token does
	require.NoError(t, err)
	require.Equal(t, 2, next.Version)
	got, err := token.GetKey(ctx, kid, 1)
	require.NoError(t, err)
	require.Equal(t, made.Fingerprint, got.Fingerprint)
	_, err = token.DestroyKey(ctx, kid, provider.AllVersions)
	require.NoError(t, err)
}
