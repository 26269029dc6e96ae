package mirror

import (
	"context"
	"crypto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// With a pin the set is whole or an error. What the manifest does not publish is no part of the whole.
func TestWhatAPinnedSetNeedNotHold(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(r *rig)
		cfg     Config
		want    []string
		err     error
	}{
		{"a secret key of which there is none", func(r *rig) {
			_, err := r.CreateKey(r.t.Context(), provider.KeySpec{KID: "b", Alg: provider.AES256GCM})
			require.NoError(r.t, err)
		}, Config{}, []string{"a.1"}, nil},
		{"an orphan is served", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.primary.Forget("b", 1)
		}, Config{}, []string{"a.1", "b.1"}, nil},
		{"or left out as the configuration says", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.primary.Forget("b", 1)
		}, Config{RefuseOrphans: true}, []string{"a.1"}, nil},
		{"what both stores have lost is destroyed for good on demand", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.primary.Forget("b", 1)
			r.secondary.Forget("b", 1)
			d, err := r.DestroyKey(r.t.Context(), "b", 1)
			require.NoError(r.t, err)
			require.True(r.t, d.Mirroring.Mirrored, d.Mirroring.Reason)
		}, Config{}, []string{"a.1"}, nil},
		{"an orphan that is refused, and whose copy is gone too", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.primary.Forget("b", 1)
			_, err := r.Reconcile(r.t.Context())
			require.NoError(r.t, err)
			r.secondary.Forget("b", 1)
		}, Config{RefuseOrphans: true}, []string{"a.1"}, nil},
		{"a secret key of which there is a copy", func(r *rig) {
			r.create(provider.KeySpec{KID: "b", Alg: provider.AES256GCM, Export: provider.ExportSecretWhenAllowed})
		}, Config{}, []string{"a.1"}, nil},
		{"a replaced key of which there is no copy", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.primary.Swap("b", 1)
			r.secondary.Forget("b", 1)
		}, Config{}, []string{"a.1"}, nil},
		{"a version that was retired", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.rotate("b")
			r.secondary.Forget("b", 1)
		}, Config{}, []string{"a.1", "b.2"}, nil},
		{"a version that was destroyed", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			_, err := r.DestroyKey(r.t.Context(), "b", 1)
			require.NoError(r.t, err)
		}, Config{}, []string{"a.1"}, nil},
		{"a destroyed one that its store still serves", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.secondary.Refuse(provider.ErrUnavailable, "DestroyKey")
			_, err := r.DestroyKey(r.t.Context(), "b", 1)
			require.NoError(r.t, err)
		}, Config{}, []string{"a.1"}, nil},
		{"but all else", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			require.NoError(r.t, r.Close())
			r.secondary.Forget("b", 1)
		}, Config{}, nil, provider.ErrTampered},
		{"and what both stores have lost, until then", func(r *rig) {
			r.create(provider.KeySpec{KID: "b"})
			r.primary.Forget("b", 1)
			r.secondary.Forget("b", 1)
		}, Config{}, nil, provider.ErrTampered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Config{Mode: Full})
			r.create(provider.KeySpec{KID: "a"})
			tt.prepare(r)
			if tt.err == nil {
				_, _ = r.Reconcile(t.Context())
			}
			m := r.pinned(tt.cfg)
			set, err := m.JWKS(t.Context(), "")
			require.ErrorIs(t, err, tt.err)
			var kids []string
			for _, k := range set.Keys() {
				kids = append(kids, k.JWKKID())
			}
			require.Equal(t, tt.want, kids)
		})
	}
}

// pinned returns a reader of the rig's files with the pin of its primary, which is away.
func (r *rig) pinned(cfg Config) *Mirror {
	r.t.Helper()
	require.NoError(r.t, r.Close())
	r.primary, r.secondary = r.primary.Reopen(), r.secondary.Reopen()
	key, err := r.primary.PublicJWK(r.t.Context(), ManifestKID, 0)
	require.NoError(r.t, err)
	r.primary.Unplug()
	cfg.ManifestDir, cfg.Pin = r.cfg.ManifestDir, key.Thumbprint()
	m, err := New(r.primary, r.secondary, cfg)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, m.Close()) })
	return m
}

// A destroy that the manifest tells of counts, whatever the state says, which nobody signed.
func TestADestroyThatWasBegunIsNotDismissed(t *testing.T) {
	s := newScene(t)
	s.primary.Refuse(provider.ErrUnavailable, "DestroyKey") // else the writer carries it on
	w, err := New(s.primary.Reopen(), storeIn(t, s.dir), Config{ManifestDir: s.path("mirror"), StateDir: s.own})
	require.NoError(t, err)
	ref, err := w.GetKey(t.Context(), "b", 1)
	require.NoError(t, err)
	d := &doomed{kid: "b", versions: map[int]provider.KeyRef{1: ref}}
	require.NoError(t, w.state.update(t.Context(), d.intend(&intent{Owner: w.state.owner})))
	require.NoError(t, w.Close())
	m := s.readManifest()
	e, _ := m.ledger.get(Version{"b", 1})
	require.NotNil(t, e.Intent)
	s.put(statePath, `{"format":2,"generation":`+itoa(m.generation)+`,"keys":{"b":{"1":{}}}}`+"\n")

	reader := s.read(Config{})
	require.Nil(t, reader.state.sound())
	_, err = reader.PublicJWK(t.Context(), "b", 1)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	_, err = reader.GetKey(t.Context(), "b", 1)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	_, err = reader.PublicJWK(t.Context(), "a", 1)
	require.NoError(t, err)
}

// What the secondary can't read, or should not hold, is told beside what the primary lists.
func TestTroublesOfTheSecondaryInAList(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "a"})
	r.create(provider.KeySpec{KID: "k"})
	r.primary.Forget("k", 1)
	r.secondary.Swap("k", 1)
	list, err := r.ListKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a.1"}, names(list))
	require.Equal(t, provider.Primary, list.Provenance.Source)
	list, err = r.ListVersions(t.Context(), "k")
	require.ErrorIs(t, err, provider.ErrNotFound)
	require.Empty(t, list.Keys)

	r.rotate("a")
	r.primary.Forget("a", 1)
	r.secondary.Swap("a", 1)
	list, err = r.ListVersions(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, []string{"a.2"}, names(list))
	require.Len(t, list.Problems, 1)
	require.ErrorIs(t, list.Problems[0], provider.ErrTampered)
}

// The secondary's word for the fingerprint of a key is not what the key is held against.
func TestSecondaryLiesAboutAFingerprint(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	require.NoError(t, r.Close())
	other := providertest.NewFake(t)
	_, err := other.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	evil, err := other.PublicJWK(t.Context(), "k", 1)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	primary := r.primary.Reopen()
	m, err := New(primary, &liar{r.secondary.Reopen(), evil.PublicKey()}, Config{ManifestDir: r.cfg.ManifestDir})
	require.NoError(t, err)
	defer m.Close()
	primary.Unplug()
	_, err = m.PublicJWK(t.Context(), "k", 1)
	require.ErrorIs(t, err, provider.ErrTampered)
	set, err := m.JWKS(t.Context(), "")
	require.NoError(t, err)
	require.Zero(t, set.Len())
}

// liar is a store that gives one key for every other, under the fingerprint of the other.
type liar struct {
	provider.Provider
	public crypto.PublicKey
}

func (l *liar) PublicJWK(ctx context.Context, kid string, version int) (provider.JWK, error) {
	k, err := l.Provider.PublicJWK(ctx, kid, version)
	if err != nil {
		return k, err
	}
	return provider.NewJWK(k.Ref(), l.public)
}

func (l *liar) JWKS(ctx context.Context, prefix string) (provider.JWKSet, error) {
	set, err := l.Provider.JWKS(ctx, prefix)
	if err != nil {
		return set, err
	}
	var keys []provider.JWK
	for _, k := range set.Keys() {
		lie, err := provider.NewJWK(k.Ref(), l.public)
		if err != nil {
			return set, err
		}
		keys = append(keys, lie)
	}
	return provider.NewJWKSet(keys, set.Provenance), nil
}

// A secondary that fails to give its set gives none, not one that is put together of what else it answers.
func TestNoSetIsNoEmptySet(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	r.secondary.Refuse(provider.ErrUnavailable, "JWKS")
	r.primary.Unplug()
	_, err := r.JWKS(t.Context(), "")
	require.ErrorIs(t, err, provider.ErrUnavailable)
	r.primary.Plug()
}

// What only the secondary holds, and nobody ever vouched for, is an orphan too, and is destroyed as one.
func TestDestroyOfAnOrphanThatNobodyKnows(t *testing.T) {
	r := newRig(t, Config{})
	_, err := r.secondary.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	d, err := r.DestroyKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.Equal(t, []int{1}, d.Versions)
	require.Empty(t, r.copies())
}
