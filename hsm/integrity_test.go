//go:build cgo

package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// objectsOf returns what stands on the token for a kid.
func objectsOf(t *testing.T, token *Token, kid string) []Object {
	t.Helper()
	all, err := token.objects(context.Background())
	require.NoError(t, err)
	return slices.DeleteFunc(all, func(o Object) bool { return o.KID != kid })
}

func TestTwoWritersNeverShareAVersion(t *testing.T) { // as the original's F06 did: one version number twice
	ctx := context.Background()
	const each = 8
	writers := []*Token{open(t, sharedToken), open(t, sharedToken), open(t, sharedToken)}
	ref, err := writers[0].CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	var mu sync.Mutex
	fingerprints := map[int]string{1: ref.Fingerprint}
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			for range each {
				next, err := w.RotateKey(ctx, ref.KID, provider.Rotation{})
				if err != nil { // three writers without a pause may keep each other off; none may be given another's version
					require.ErrorIs(t, err, provider.ErrUnavailable)
					continue
				}
				mu.Lock()
				require.Empty(t, fingerprints[next.Version], "version %d was made twice", next.Version)
				fingerprints[next.Version] = next.Fingerprint
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	list, err := open(t, sharedToken).ListVersions(ctx, ref.KID)
	require.NoError(t, err)
	require.Empty(t, list.Problems)
	require.Len(t, list.Keys, len(fingerprints), "nothing is there that was not acknowledged")
	for _, got := range list.Keys {
		require.Equal(t, fingerprints[got.Version], got.Fingerprint)
	}
	require.Greater(t, len(fingerprints), each)
}

func TestOneOfTwoCreatorsOfAKIDWins(t *testing.T) {
	ctx := context.Background()
	kid := provider.NewKID()
	var errs [2]error
	var wg sync.WaitGroup
	for i, token := range []*Token{open(t, sharedToken), open(t, sharedToken)} {
		wg.Go(func() { _, errs[i] = token.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.Ed25519}) })
	}
	wg.Wait()
	won := slices.IndexFunc(errs[:], func(err error) bool { return err == nil })
	require.GreaterOrEqual(t, won, 0)
	require.ErrorIs(t, errs[1-won], provider.ErrExists)
	list, err := open(t, sharedToken).ListVersions(ctx, kid)
	require.NoError(t, err)
	require.Len(t, list.Keys, 1)
}

func TestAFailedCreateLeavesNothing(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	kid := provider.NewKID()
	broken := errors.New("broken")
	spec, err := provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256}.Normalize()
	require.NoError(t, err)
	_, err = token.first(ctx, spec, record{}, func(ctx context.Context, r record) error {
		require.NoError(t, token.generate(ctx, r))
		return broken
	})
	require.ErrorIs(t, err, broken)
	require.Empty(t, objectsOf(t, token, kid))
	ref, err := token.CreateKey(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, 1, ref.Version)
}

func TestACallerWhoGoesLeavesNothing(t *testing.T) {
	token := open(t, sharedToken)
	kid := provider.NewKID()
	ctx, cancel := context.WithCancel(context.Background())
	spec, err := provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256}.Normalize()
	require.NoError(t, err)
	_, err = token.first(ctx, spec, record{}, func(ctx context.Context, r record) error {
		cancel()
		return token.generate(ctx, r)
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, objectsOf(t, token, kid))
}

func TestTheRestOfACrashIsNoKey(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	spec, err := provider.KeySpec{Alg: provider.ECDSAP256SHA256}.Normalize()
	require.NoError(t, err)
	rec := newRecord(spec)
	rec.Version, rec.ID, rec.Created = 1, "0badc0de", rec.Created.Add(-claimLife)
	require.NoError(t, token.write(ctx, rec))
	require.NoError(t, token.generate(ctx, rec))

	_, err = token.GetKey(ctx, spec.KID, 0)
	require.ErrorIs(t, err, provider.ErrNotFound)
	for _, o := range objectsOf(t, token, spec.KID) {
		require.Equal(t, StatusHalf, o.Status)
	}
	ref, err := token.CreateKey(ctx, provider.KeySpec{KID: spec.KID, Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.Equal(t, 2, ref.Version, "the number that was claimed stays taken")
}

func TestADestroyThatWasCutOffIsADestroy(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	k, err := token.reload(ctx, ref.KID)
	require.NoError(t, err)
	tomb := *k.versions[0].record
	tomb.Stage, tomb.Fingerprint = destroyed, ""
	require.NoError(t, token.write(ctx, tomb))

	again := open(t, sharedToken)
	_, err = again.GetKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	next, err := again.CreateKey(ctx, provider.KeySpec{KID: ref.KID, Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.Equal(t, 2, next.Version)
}

func TestAKeyWithARecordOfANewerFormatGetsNoNewVersion(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.NoError(t, token.link.create(ctx, []attribute{
		{ckaClass, uint(ckoData)}, {ckaToken, true}, {ckaPrivate, true}, {ckaApplication, application}, {ckaLabel, ref.KID},
		{ckaValue, []byte(`{"format":2,"kid":"` + ref.KID + `","version":2}`)},
	}))
	_, err = token.RotateKey(ctx, ref.KID, provider.Rotation{})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "record of format 2: want 1")
	list, err := token.ListVersions(ctx, ref.KID)
	require.NoError(t, err)
	require.Len(t, list.Keys, 1, "what can be read is served")
	require.Len(t, list.Problems, 1)
	_, err = token.DestroyKey(ctx, ref.KID, provider.AllVersions)
	require.NoError(t, err)
}

// stubborn says that it has destroyed a key object, and keeps it.
type stubborn struct{ link }

func (s stubborn) destroy(ctx context.Context, o *object) error {
	if o.class != ckoData {
		return nil
	}
	return s.link.destroy(ctx, o)
}

func TestAKeyThatTheTokenKeepsIsNotDestroyed(t *testing.T) { // as the original's F07 said: True, and private.pem still there
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	good := token.link
	token.link = stubborn{good}
	done, err := token.DestroyKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "still shows 2")
	require.Empty(t, done.Versions)
	_, err = token.GetKey(ctx, ref.KID, 1)
	require.NoError(t, err, "it is not lost from sight")
	token.link = good
	_, err = token.DestroyKey(ctx, ref.KID, 1)
	require.NoError(t, err)
}

func TestASwappedPublicKeyIsNotServed(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	k, err := token.reload(ctx, ref.KID)
	require.NoError(t, err)
	id := k.versions[0].idBytes()
	objects, err := token.link.find(ctx, attribute{ckaID, id}, attribute{ckaClass, uint(ckoPublicKey)})
	require.NoError(t, err)
	require.Len(t, objects, 1)
	require.NoError(t, token.link.destroy(ctx, objects[0]))
	evil, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	params, point, err := encodeECPublic(&evil.PublicKey)
	require.NoError(t, err)
	require.NoError(t, token.link.create(ctx, []attribute{
		{ckaClass, uint(ckoPublicKey)}, {ckaKeyType, uint(ckkEC)}, {ckaToken, true}, {ckaPrivate, false}, {ckaID, id}, {ckaECParams, params}, {ckaECPoint, point},
	}))

	again := open(t, sharedToken)
	_, err = again.PublicJWK(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrTampered)
	require.NotErrorIs(t, err, provider.ErrNotFound)
	_, err = again.CreateKey(ctx, provider.KeySpec{KID: ref.KID, Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrTampered, "the name is not free")
	set, err := again.JWKS(ctx, ref.KID)
	require.NoError(t, err)
	require.Zero(t, set.Len())
	list, err := again.ListKeys(ctx)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(list.Problems, func(err error) bool { return errors.Is(err, provider.ErrTampered) }))
}

func TestALostPublicKeyObjectIsRebuiltOrReported(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	for _, tt := range []struct {
		alg  provider.KeyAlg
		want error
	}{
		{provider.RSAPSSSHA256, nil},                     // the private key shows modulus and exponent
		{provider.ECDSAP256SHA256, provider.ErrTampered}, // SoftHSM2 shows no point of a private key
	} {
		ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: tt.alg})
		require.NoError(t, err)
		k, err := token.reload(ctx, ref.KID)
		require.NoError(t, err)
		objects, err := token.link.find(ctx, attribute{ckaID, k.versions[0].idBytes()}, attribute{ckaClass, uint(ckoPublicKey)})
		require.NoError(t, err)
		require.NoError(t, token.link.destroy(ctx, objects[0]))
		jwk, err := open(t, sharedToken).PublicJWK(ctx, ref.KID, 1)
		require.ErrorIs(t, err, tt.want)
		if tt.want == nil {
			require.Equal(t, ref.Fingerprint, jwk.Thumbprint())
		}
	}
}

func TestPrivateHalvesAreProtected(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	yes, no := true, false
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519, provider.AES256GCM} {
		ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg})
		require.NoError(t, err)
		e := *ref.Evidence
		e.KeyGenMechanism = ""
		require.Equal(t, provider.Evidence{Sensitive: &yes, Extractable: &no, AlwaysSensitive: &yes, NeverExtractable: &yes, Local: &yes}, e, alg)
		ref, err = token.CreateKey(ctx, provider.KeySpec{Alg: alg, Export: provider.ExportSecretWhenAllowed})
		require.NoError(t, err)
		require.True(t, *ref.Evidence.Extractable)
		require.Equal(t, alg != provider.Ed25519, *ref.Evidence.Sensitive, "%s: SoftHSM2 wraps no Ed25519 key", alg)
	}
}

func TestOthersWritesAreSeenInTime(t *testing.T) {
	ctx := context.Background()
	cfg := configFor(t, sharedToken)
	cfg.RefreshAfter = time.Nanosecond
	reader, err := Open(ctx, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	writer := open(t, sharedToken)
	ref, err := writer.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	_, err = reader.GetKey(ctx, ref.KID, 0)
	require.NoError(t, err)
	signer, err := reader.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)
	_, err = writer.RotateKey(ctx, ref.KID, provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(t, err)
	got, err := reader.GetKey(ctx, ref.KID, 0)
	require.NoError(t, err)
	require.Equal(t, 2, got.Version)
	_, err = writer.DestroyKey(ctx, ref.KID, 1)
	require.NoError(t, err)
	_, err = signer.SignContext(ctx, make([]byte, 32), ref.Alg.SignerOpts())
	require.ErrorIs(t, err, provider.ErrNotFound, "a signer does not outlive its version, and says which of two it was")
	_, err = reader.PublicJWK(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
}

func TestTwoTokensOfOneProcess(t *testing.T) {
	ctx := context.Background()
	a, b := open(t, sharedToken), open(t, otherToken)
	ref, err := a.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	_, err = b.GetKey(ctx, ref.KID, 0)
	require.ErrorIs(t, err, provider.ErrNotFound)
	require.NoError(t, b.Close())
	signer, err := a.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)
	_, err = signer.SignContext(ctx, make([]byte, 32), ref.Alg.SignerOpts())
	require.NoError(t, err, "one token closed does not finalise the module under the other")
}

func TestARestartOfTheModuleIsNoticedByTheOtherToken(t *testing.T) {
	ctx := context.Background()
	a, b := open(t, sharedToken), open(t, otherToken)
	ref, err := b.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	signer, err := b.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)
	c := a.link.(*conn)
	require.NoError(t, c.lib.end(ctx, c.tried))
	for range 3 {
		_, err = signer.SignContext(ctx, make([]byte, 32), ref.Alg.SignerOpts())
		require.NoError(t, err)
	}
	_, err = a.ListKeys(ctx)
	require.NoError(t, err)
}

func TestARestartOfTheModuleWhileAKeyIsProvedIsAnOutage(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	k, err := token.reload(ctx, ref.KID)
	require.NoError(t, err)
	making := *k.versions[0]
	rec := *making.record
	rec.Version = 2 // not live yet, so it can't be found again
	making.located = &located{record: &rec}
	require.NoError(t, token.prove(ctx, &making))
	require.NoError(t, token.link.(*conn).lib.end(ctx, token.link.(*conn).tried))
	err = token.prove(ctx, &making)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.NotErrorIs(t, err, provider.ErrNotFound)
}

func TestAVersionThatTwoKeysClaimToBeIsDestroyedWithBoth(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	other, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	k, err := token.reload(ctx, other.KID)
	require.NoError(t, err)
	rival := *k.versions[0].record
	rival.KID = ref.KID
	require.NoError(t, token.write(ctx, rival))
	_, err = token.GetKey(ctx, other.KID, 1)
	require.NoError(t, err)
	_, err = token.reload(ctx, ref.KID)
	require.NoError(t, err)
	_, err = token.GetKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrTampered)

	done, err := token.DestroyKey(ctx, ref.KID, 1)
	require.NoError(t, err)
	require.Equal(t, []int{1}, done.Versions)
	_, err = token.GetKey(ctx, ref.KID, 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	left := objectsOf(t, token, ref.KID)
	require.Len(t, left, 1, "the tombstone, and neither key")
	require.Equal(t, "CKO_DATA", left[0].Class)
	again, err := token.CreateKey(ctx, provider.KeySpec{KID: ref.KID, Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.Equal(t, 2, again.Version, "the number stays taken")
}
