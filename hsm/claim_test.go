//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Writers of one host take turns, so that none of the tests of several writers comes to two claims at once. Those here write without
// a turn, as the processes of two hosts do.

// claimOf returns the claim of a version with a CKA_ID of its own.
func claimOf(t *testing.T, kid string, n int) record {
	t.Helper()
	spec, err := provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256}.Normalize()
	require.NoError(t, err)
	rec := newRecord(spec)
	rec.Version, rec.ID = n, hex.EncodeToString([]byte(provider.NewKID()))
	return rec
}

// removeRecords removes all records of a kid.
func removeRecords(t *testing.T, token *Token, kid string) {
	t.Helper()
	objects, err := token.findRecords(t.Context(), kid)
	require.NoError(t, err)
	for _, o := range objects {
		require.NoError(t, token.link.destroy(t.Context(), o))
	}
}

func TestAClaimLooksWhetherItIsAlone(t *testing.T) {
	const ours = 2
	token := open(t, otherToken)
	type others []record
	other := func(s stage, n int, ago time.Duration) record {
		return record{Stage: s, Version: n, Created: now().Add(-ago).Truncate(time.Second)}
	}
	tests := []struct {
		name   string
		first  bool
		others others
		want   error
	}{
		{"nobody else is there", false, nil, nil},
		{"another claims the number", false, others{other(claimed, ours, 0)}, errClaimed},
		{"another claimed the number long ago", false, others{other(claimed, ours, claimLife)}, errClaimed},
		{"another has made the version", false, others{other(live, ours, 0)}, errClaimed},
		{"another has destroyed the version", false, others{other(destroyed, ours, 0)}, errClaimed},
		{"another claims another number", false, others{other(claimed, 1, 0), other(claimed, 3, 0)}, nil},
		{"the version before it", false, others{other(live, 1, 0)}, nil},

		{"nobody else wants the kid", true, nil, nil},
		{"another claims another number of the kid", true, others{other(claimed, 1, 0)}, errClaimed},
		{"another has just claimed it", true, others{other(claimed, 1, claimLife-time.Minute)}, errClaimed},
		{"another died on it", true, others{other(claimed, 1, claimLife)}, nil},
		{"another has made a version", true, others{other(live, 1, claimLife)}, errClaimed},
		{"a version that was destroyed", true, others{other(destroyed, 1, 0)}, nil},
		{"a version whose destroy was cut off", true, others{other(live, 1, 0), other(destroyed, 1, 0)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kid := provider.NewKID()
			defer removeRecords(t, token, kid)
			for _, o := range tt.others {
				rec := claimOf(t, kid, o.Version)
				rec.Stage, rec.Created, rec.Fingerprint = o.Stage, o.Created, "of another key"
				require.NoError(t, token.write(t.Context(), rec))
			}
			k, err := token.reload(t.Context(), kid)
			require.NoError(t, err)
			require.ErrorIs(t, token.claim(t.Context(), claimOf(t, kid, ours), k, tt.first), tt.want)
		})
	}
}

func TestAClaimThatCanNotBeSureIsWithdrawn(t *testing.T) {
	away := errors.New("away")
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, d *detour, kid string)
		want   error
	}{
		{"a record can't be read", func(t *testing.T, d *detour, kid string) {
			require.NoError(t, d.link.create(t.Context(), append(dataOf(kid), attribute{ckaToken, true}, attribute{ckaValue, []byte("{")})))
		}, errClaimed},
		{"the token shows another record and not the claim", func(t *testing.T, d *detour, kid string) {
			old := claimOf(t, kid, 9)
			old.Stage = destroyed
			template, err := old.dataTemplate()
			require.NoError(t, err)
			require.NoError(t, d.link.create(t.Context(), template))
			d.onFind = func(_ []attribute, found []*object) ([]*object, error) {
				records, _ := locate(found)
				i := slices.IndexFunc(records, func(r *located) bool { return r.Version == 9 })
				return []*object{records[i].object}, nil
			}
		}, errClaimed},
		{"the token shows nothing", func(_ *testing.T, d *detour, _ string) {
			d.onFind = func([]attribute, []*object) ([]*object, error) { return nil, away }
		}, away},
		{"the claim can't be written", func(_ *testing.T, d *detour, _ string) {
			d.onCreate = func([]attribute) error { return away }
		}, away},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, d := openDetour(t)
			kid := provider.NewKID()
			defer func() { *d = detour{link: d.link}; removeRecords(t, token, kid) }()
			tt.change(t, d, kid)
			require.ErrorIs(t, token.claim(t.Context(), claimOf(t, kid, 1), &key{kid: kid}, true), tt.want)
		})
	}
}

// rivals lets another writer claim each number that a token is about to claim, a moment earlier, and this many times. met is called for each.
func rivals(t *testing.T, d *detour, kid string, times int, met func()) {
	another := &Token{cfg: Config{Label: "another"}, link: d.link}
	d.onCreate = func(template []attribute) error {
		i := slices.IndexFunc(template, func(a attribute) bool { return a.typ == ckaValue })
		if i < 0 || times == 0 {
			return nil
		}
		ours, err := parseRecord(template[i].value.([]byte))
		if err != nil || ours.KID != kid || ours.Stage != claimed {
			return nil
		}
		times--
		met()
		return another.write(t.Context(), claimOf(t, kid, ours.Version))
	}
}

func TestAWriterGivesWayToItsRivals(t *testing.T) {
	token, d := openDetour(t)
	ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	rivals(t, d, ref.KID, 3, func() {})
	next, err := token.RotateKey(t.Context(), ref.KID, provider.Rotation{})
	require.NoError(t, err)
	require.Equal(t, 5, next.Version, "three numbers are taken")
	k, err := token.reload(t.Context(), ref.KID)
	require.NoError(t, err)
	require.Equal(t, map[int]stage{1: live, 2: claimed, 3: claimed, 4: claimed, 5: live}, stand(k))
	require.Empty(t, k.spare, "what it withdrew is gone")
	_, err = token.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
	require.NoError(t, err)
	removeRecords(t, token, ref.KID)
}

func TestAWriterWhoseRivalsNeverEndGivesUp(t *testing.T) {
	token, d := openDetour(t)
	kid, met := provider.NewKID(), 0
	rivals(t, d, kid, -1, func() { met++ })
	_, err := token.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.ErrorContains(t, err, "other processes keep claiming the next version")
	require.Equal(t, claimTries, met)
	require.Len(t, objectsOf(t, token, kid), claimTries, "what the rivals wrote, and no more")
	removeRecords(t, token, kid)

	ctx, cancel := context.WithCancel(t.Context())
	rivals(t, d, kid, -1, cancel)
	_, err = token.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, provider.ErrUnavailable)
	require.LessOrEqual(t, len(objectsOf(t, token, kid)), 1)
	removeRecords(t, token, kid)
}

// byCalls keeps what several Tokens change apart call by call: SoftHSM2 now and then fails the calls of two writers at once.
type byCalls struct {
	link
	turn *sync.Mutex
}

func (b byCalls) find(ctx context.Context, match ...attribute) ([]*object, error) {
	b.turn.Lock()
	defer b.turn.Unlock()
	return b.link.find(ctx, match...)
}

func (b byCalls) create(ctx context.Context, template []attribute) error {
	b.turn.Lock()
	defer b.turn.Unlock()
	return b.link.create(ctx, template)
}

func (b byCalls) generate(ctx context.Context, g generation) error {
	b.turn.Lock()
	defer b.turn.Unlock()
	return b.link.generate(ctx, g)
}

func (b byCalls) destroy(ctx context.Context, o *object) error {
	b.turn.Lock()
	defer b.turn.Unlock()
	return b.link.destroy(ctx, o)
}

func TestWritersWithoutATurnNeverShareAVersion(t *testing.T) { // the original's F06: one version number twice
	const each = 3
	writers := []*Token{open(t, otherToken), open(t, otherToken), open(t, otherToken)}
	ref, err := writers[0].CreateKey(t.Context(), provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	var mu, turn sync.Mutex
	fingerprints := map[int]string{1: ref.Fingerprint}
	var wg sync.WaitGroup
	for _, w := range writers {
		w.link = byCalls{w.link, &turn}
		m := making{kid: ref.KID, fill: w.generate, plan: func(*key) (record, error) { return claimOf(t, ref.KID, 0), nil }}
		wg.Go(func() {
			for made := 0; made < each; {
				next, err := w.tryVersion(t.Context(), m)
				if err != nil {
					require.True(t, errors.Is(err, errClaimed) || errors.Is(err, errUnreadable), "%v", err)
					time.Sleep(rand.N(50 * time.Millisecond))
					continue
				}
				mu.Lock()
				require.Empty(t, fingerprints[next.Version], "version %d was made twice", next.Version)
				fingerprints[next.Version] = next.Fingerprint
				mu.Unlock()
				made++
			}
		})
	}
	wg.Wait()
	list, err := open(t, otherToken).ListVersions(t.Context(), ref.KID)
	require.NoError(t, err)
	require.Empty(t, list.Problems)
	require.Len(t, list.Keys, 1+each*len(writers))
	for _, got := range list.Keys {
		require.Equal(t, fingerprints[got.Version], got.Fingerprint)
	}
	_, err = writers[0].DestroyKey(t.Context(), ref.KID, provider.AllVersions)
	require.NoError(t, err)
}

// NSS replaces a key by one with the same CKA_ID, without a word.
func TestACKAIDThatIsTakenIsNotUsed(t *testing.T) {
	token, d := openDetour(t)
	kid := provider.NewKID()
	d.onFind = func(match []attribute, found []*object) ([]*object, error) {
		if len(match) == 1 && match[0].typ == ckaID {
			return []*object{{class: ckoSecretKey, id: bytes.Clone(match[0].value.([]byte))}}, nil
		}
		return found, nil
	}
	_, err := token.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrTampered)
	require.ErrorContains(t, err, "a random CKA_ID is taken already")
	d.onFind = nil
	require.Empty(t, objectsOf(t, token, kid))
}
