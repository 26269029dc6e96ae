//go:build cgo

package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// errBroken is what the making of a half key ends with.
var errBroken = errors.New("broken")

// makeHalf makes the objects of a key, and fails before the key is live.
func makeHalf(t *testing.T, token *Token, alg provider.KeyAlg) (kid string, err error) {
	t.Helper()
	spec, err := provider.KeySpec{KID: provider.NewKID(), Alg: alg}.Normalize()
	require.NoError(t, err)
	_, err = token.first(t.Context(), spec, record{}, func(ctx context.Context, r record) error {
		require.NoError(t, token.generate(ctx, r))
		return errBroken
	})
	return spec.KID, err
}

func TestHalfAKeyIsFoundAgainAndTakenBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alg   provider.KeyAlg
		class uint
	}{
		{"a private key", provider.ECDSAP256SHA256, ckoPrivateKey},
		{"a public key", provider.ECDSAP256SHA256, ckoPublicKey},
		{"a secret key", provider.AES256GCM, ckoSecretKey},
		{"a claim", provider.AES256GCM, ckoData},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, d := openDetour(t)
			moved := d.moveTwice(tt.class)
			kid, err := makeHalf(t, token, tt.alg)
			require.ErrorIs(t, err, errBroken)
			require.NotErrorIs(t, err, provider.ErrUnavailable)
			require.Equal(t, 2, *moved)
			require.Empty(t, objectsOf(t, token, kid))
		})
	}
}

func TestAnImportThatIsCutOffLeavesNothing(t *testing.T) {
	away := fmt.Errorf("%w: away", provider.ErrUnavailable)
	for _, class := range []uint{ckoPrivateKey, ckoPublicKey} {
		t.Run(className(class), func(t *testing.T) {
			token, d := openDetour(t)
			d.onCreate = func(template []attribute) error {
				if slices.ContainsFunc(template, func(a attribute) bool { return a.typ == ckaClass && a.value == class }) {
					return away
				}
				return nil
			}
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			material, err := provider.Material(key)
			require.NoError(t, err)
			kid := provider.NewKID()
			_, err = token.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256}, material)
			require.ErrorIs(t, err, away)
			require.Empty(t, objectsOf(t, token, kid))
		})
	}
}

func TestAnAdoptionThatIsCutOffDeniesNoKey(t *testing.T) {
	away := fmt.Errorf("%w: away", provider.ErrUnavailable)
	token, d := openDetour(t)
	d.onFind = func([]attribute, []*object) ([]*object, error) { return nil, away }
	_, err := token.Adopt(t.Context(), Adoption{Label: "nobody's"})
	require.ErrorIs(t, err, away)
	require.NotErrorIs(t, err, provider.ErrNotFound)
}

// What stood on the token before, stays.
func TestHalfAVersionIsTakenBackAlone(t *testing.T) {
	var records recorder
	token, _ := openDetour(t)
	token.cfg.Logger = slog.New(&records)
	ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	before := objectsOf(t, token, ref.KID)
	var rival record // has claimed the same version
	_, err = token.version(t.Context(), making{kid: ref.KID,
		plan: func(*key) (record, error) {
			spec, err := ref.Spec().Normalize()
			return newRecord(spec), err
		},
		fill: func(ctx context.Context, r record) error {
			require.Equal(t, 2, r.Version)
			require.NoError(t, token.generate(ctx, r))
			rival = r
			rival.ID = provider.NewKID()
			require.NoError(t, token.write(ctx, rival))
			return errBroken
		},
	})
	require.ErrorIs(t, err, errBroken)
	require.NotContains(t, records.messages(), "half a key left on the token")
	require.Subset(t, objectsOf(t, token, ref.KID), before)
	require.Len(t, objectsOf(t, token, ref.KID), len(before)+1)
	require.True(t, slices.ContainsFunc(recordsOf(t, token, ref.KID), func(r *located) bool { return r.ID == rival.ID }))
	requireGoodSignature(t, token, ref)
	_, err = token.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
	require.NoError(t, err)
	removeRecords(t, token, ref.KID)
}

// Its claim stays too: by that it is found, and removed later.
func TestHalfAKeyThatTheTokenKeepsIsSaidToBeThere(t *testing.T) {
	for _, class := range []uint{ckoPrivateKey, ckoData} {
		t.Run(className(class), func(t *testing.T) {
			var records recorder
			token, d := openDetour(t)
			token.cfg.Logger = slog.New(&records)
			d.onDestroy = func(o *object) error {
				if o.class == class {
					return &Error{Call: "C_DestroyObject", Code: 0x1B}
				}
				return nil
			}
			kid, err := makeHalf(t, token, provider.ECDSAP256SHA256)
			require.ErrorIs(t, err, errBroken)
			require.Contains(t, records.messages(), "half a key left on the token")
			left := recordsOf(t, token, kid)
			require.Len(t, left, 1)
			require.Equal(t, claimed, left[0].Stage)
			d.onDestroy = nil
			_, err = token.Tidy(t.Context(), 0)
			require.NoError(t, err)
			require.Empty(t, objectsOf(t, token, kid))
		})
	}
}

// A claim that is not found may still be there.
func TestHalfAKeyWhoseClaimIsNotFoundIsSaidToBeThere(t *testing.T) {
	away := fmt.Errorf("%w: away", provider.ErrUnavailable)
	byLabel := func(match []attribute) bool {
		return slices.ContainsFunc(match, func(a attribute) bool { return a.typ == ckaLabel })
	}
	for _, tt := range []struct {
		name   string
		onFind func(match []attribute, found []*object) ([]*object, error)
	}{
		{"by its label", func(match []attribute, found []*object) ([]*object, error) {
			if byLabel(match) {
				return nil, away
			}
			return found, nil
		}},
		{"by what it says, on a token that changes labels", func(match []attribute, found []*object) ([]*object, error) {
			switch {
			case byLabel(match):
				return nil, nil
			case match[0].typ == ckaPrivate:
				return nil, away
			}
			return found, nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var records recorder
			token, d := openDetour(t)
			token.cfg.Logger = slog.New(&records)
			d.onDestroy = func(*object) error { d.onFind = tt.onFind; return nil } // from the first half of the key on
			kid, err := makeHalf(t, token, provider.ECDSAP256SHA256)
			require.ErrorIs(t, err, errBroken)
			require.Contains(t, records.messages(), "half a key left on the token")
			d.onDestroy, d.onFind = nil, nil
			require.Len(t, recordsOf(t, token, kid), 1)
			_, err = token.Tidy(t.Context(), 0)
			require.NoError(t, err)
			require.Empty(t, objectsOf(t, token, kid))
		})
	}
}

func TestWhatCanNotBeReadOfAKeyIsRemovedNevertheless(t *testing.T) {
	away := fmt.Errorf("%w: away", provider.ErrUnavailable)
	token, d := openDetour(t)
	ref := pairOn(t, token)
	id := recordsOf(t, token, ref.KID)[0].idBytes()
	removed := 0
	d.onDestroy = func(*object) error { removed++; return nil }

	d.onFind = func([]attribute, []*object) ([]*object, error) { return nil, away }
	require.ErrorIs(t, token.removeKeys(t.Context(), id), away, "nothing is known")
	d.onFind = func(_ []attribute, found []*object) ([]*object, error) {
		return append(found, &object{class: classUnknown, problem: away}), away
	}
	require.ErrorIs(t, token.removeKeys(t.Context(), id), away, "it may be a key")
	require.Zero(t, removed)

	d.onFind = func(_ []attribute, found []*object) ([]*object, error) {
		if len(found) > 0 {
			return found, away
		}
		return found, nil
	}
	require.NoError(t, token.removeKeys(t.Context(), id), "it is known to be a key")
	require.Equal(t, 2, removed)
	*d = detour{link: d.link}
	require.Len(t, objectsOf(t, token, ref.KID), 1, "the record")
	removeRecords(t, token, ref.KID)
}
