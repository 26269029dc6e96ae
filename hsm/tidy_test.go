//go:build cgo

package hsm

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// begun leaves on the token what a process leaves that is killed while it makes version n of a key: its claim, and a pair.
func begun(t *testing.T, token *Token, kid string, n int, ago time.Duration) {
	t.Helper()
	ctx := context.Background()
	spec, err := provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256}.Normalize()
	require.NoError(t, err)
	id, err := token.freeID(ctx)
	require.NoError(t, err)
	rec := newRecord(spec)
	rec.Version, rec.ID, rec.Created = n, hex.EncodeToString(id), rec.Created.Add(-ago)
	require.NoError(t, token.write(ctx, rec))
	require.NoError(t, token.generate(ctx, rec))
	require.Len(t, objectsOf(t, token, kid), 3)
}

func TestWhatWasCutOffLongAgoGoesWithTheNextWrite(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name  string
		write func(*Token, string) error
		want  error
		left  int
	}{
		{"a key is created", func(token *Token, kid string) error {
			_, err := token.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
			return err
		}, nil, 3},
		{"a key is destroyed that never was", func(token *Token, kid string) error {
			_, err := token.DestroyKey(ctx, kid, provider.AllVersions)
			return err
		}, provider.ErrNotFound, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, kid := open(t, otherToken), provider.NewKID()
			begun(t, token, kid, 1, claimDead)
			require.ErrorIs(t, tt.write(token, kid), tt.want)
			require.Len(t, objectsOf(t, token, kid), tt.left)
			if tt.want == nil {
				ref, err := token.GetKey(ctx, kid, 0)
				require.NoError(t, err)
				require.Equal(t, 1, ref.Version, "its number is free again")
			}
			_, err := token.Tidy(ctx, 0)
			require.NoError(t, err)
			_, _ = token.DestroyKey(ctx, kid, provider.AllVersions)
		})
	}
}

func TestWhatMayBeInTheMakingStays(t *testing.T) {
	ctx := context.Background()
	token, kid := open(t, otherToken), provider.NewKID()
	begun(t, token, kid, 1, claimDead-time.Minute)
	_, err := token.DestroyKey(ctx, kid, provider.AllVersions)
	require.ErrorIs(t, err, provider.ErrNotFound)
	removed, err := token.Tidy(ctx, claimDead)
	require.NoError(t, err)
	require.Empty(t, removed)
	require.Len(t, objectsOf(t, token, kid), 3)

	removed, err = token.Tidy(ctx, 0)
	require.NoError(t, err)
	require.Len(t, removed, 3)
	require.Empty(t, objectsOf(t, token, kid))
	_, err = token.Tidy(ctx, -1)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

// A process that is killed after the tombstone leaves the key's objects. Who destroys the key again is told that it is gone, and it has to
// be.
func TestADestroyThatWasCutOffIsFinishedByTheNext(t *testing.T) {
	ctx := context.Background()
	token := open(t, otherToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	k, err := token.reload(ctx, ref.KID)
	require.NoError(t, err)
	tomb := *k.records[0].record
	tomb.Stage = destroyed
	require.NoError(t, token.write(ctx, tomb))

	_, err = token.DestroyKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	left := objectsOf(t, token, ref.KID)
	require.Len(t, left, 1, "the tombstone")
	require.Equal(t, "CKO_DATA", left[0].Class)
}

// A key may be older than any claim gets, and its own claim may have been left beside it: the token was away when it was to be removed.
func TestAnOldKeyIsNotTakenForOneThatWasCutOff(t *testing.T) {
	token := open(t, otherToken)
	ref := pairOn(t, token)
	old := recordsOf(t, token, ref.KID)[0]
	rec := *old.record
	rec.Created = rec.Created.Add(-2 * claimDead)
	require.NoError(t, token.write(t.Context(), rec))
	require.NoError(t, token.link.destroy(t.Context(), old.object))
	rec.Stage = claimed
	require.NoError(t, token.write(t.Context(), rec))
	require.Len(t, objectsOf(t, token, ref.KID), 4)

	next, err := token.RotateKey(t.Context(), ref.KID, provider.Rotation{})
	require.NoError(t, err)
	_, err = token.DestroyKey(t.Context(), ref.KID, next.Version)
	require.NoError(t, err)
	_, err = token.Tidy(t.Context(), 0)
	require.NoError(t, err)
	again := open(t, otherToken)
	requireSigns(t, again, ref)
	records := recordsOf(t, again, ref.KID)
	require.Len(t, records, 2, "of the version and of the tombstone")
	_, err = again.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
	require.NoError(t, err)
	isDestroyed(t, again, ref.KID)
}

func TestATombstoneThatNothingNeedsGoes(t *testing.T) {
	token := open(t, otherToken)
	ref := pairOn(t, token)
	next, err := token.RotateKey(t.Context(), ref.KID, provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(t, err)
	_, err = token.DestroyKey(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	require.Len(t, objectsOf(t, token, ref.KID), 3, "of the version after it")
	_, err = token.DestroyKey(t.Context(), ref.KID, next.Version)
	require.NoError(t, err)
	isDestroyed(t, token, ref.KID)
}
