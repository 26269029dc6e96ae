package mirror

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// killScene is a mirror whose writers are killed, and what they noted.
type killScene struct {
	t     *testing.T
	dir   string
	pin   string
	notes string
	out   *os.File
	seen  map[Version]string // thumbprint of every version that was ever there
}

func newKillScene(t *testing.T) *killScene {
	t.Helper()
	s := &killScene{t: t, dir: tempDir(t), notes: filepath.Join(t.TempDir(), "notes"), seen: map[Version]string{}}
	m, err := openKilled(t.Context(), s.dir, "")
	require.NoError(t, err)
	_, err = m.Reconcile(t.Context()) // the first manifest
	require.NoError(t, err)
	s.pin, err = m.ManifestPin(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.Close())
	s.out, err = os.OpenFile(s.notes, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.out.Close()) })
	return s
}

// start runs a victim, and returns when it has opened its stores: what comes before changes nothing.
func (s *killScene) start() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"="+s.dir, victimPinVariable+"="+s.pin)
	cmd.Stdout, cmd.Stderr = s.out, os.Stderr
	_, err := cmd.StdinPipe() // closed by Wait, and with this process
	require.NoError(s.t, err)
	before, err := s.out.Stat()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	require.Eventually(s.t, func() bool {
		now, err := s.out.Stat()
		return err == nil && now.Size() > before.Size()
	}, time.Minute, time.Millisecond, "a victim wrote nothing")
	return cmd
}

// look requires that what the victims left is in order: at first to a reader while the primary is away, then to the next
// writer, and after one pass of that to both, without a difference between the stores.
func (s *killScene) look() {
	s.t.Helper()
	notes := readKillNotes(s.t, s.notes)
	s.without(func(m *Mirror) { s.served(m, notes, notes.mirrored) })

	m, err := openKilled(s.t.Context(), s.dir, s.pin)
	require.NoError(s.t, err)
	defer m.Close()
	all := map[Version]bool{}
	for v := range notes.made {
		all[v] = true
	}
	s.served(m, notes, all)
	r, err := m.Reconcile(s.t.Context())
	require.NoError(s.t, err)
	require.Empty(s.t, r.Unmirrored)
	require.Empty(s.t, r.Conflicts)
	require.Empty(s.t, r.Orphans)
	require.Empty(s.t, r.Problems)
	require.NoError(s.t, r.Unsigned)
	status := m.Status()
	require.Empty(s.t, status.Pending)
	require.Empty(s.t, status.Manifest.Unsigned)
	require.NoError(s.t, status.State)
	held := s.held(m.primary)
	require.Equal(s.t, held, s.held(m.copies.store), "the stores differ")
	for v, thumbprint := range held {
		if known := s.seen[v]; known != "" {
			require.Equal(s.t, known, thumbprint, "%s was given twice", v)
		}
		s.seen[v] = thumbprint
	}
	s.served(m, notes, all)
	s.without(func(m *Mirror) { s.served(m, notes, all) })
}

// without runs f with a mirror whose primary is away, of a reader whose own directory remembers every generation.
func (s *killScene) without(f func(*Mirror)) {
	s.t.Helper()
	away := providertest.NewFake(nil)
	away.Unplug()
	m, err := overKeystore(s.t.Context(), away, s.dir, s.pin, "reader")
	require.NoError(s.t, err)
	f(m)
	require.NoError(s.t, m.Close())
}

// held returns the thumbprints of what a store holds, the manifest's key aside.
func (s *killScene) held(store provider.Provider) map[Version]string {
	s.t.Helper()
	held := map[Version]string{}
	keys, err := store.ListKeys(s.t.Context())
	require.NoError(s.t, err)
	require.Empty(s.t, keys.Problems)
	for _, key := range keys.Keys {
		list, err := store.ListVersions(s.t.Context(), key.KID)
		require.NoError(s.t, err)
		require.Empty(s.t, list.Problems)
		for _, ref := range list.Keys {
			if ref.KID != ManifestKID {
				held[nameOf(ref)] = ref.Fingerprint
			}
		}
	}
	return held
}

// served requires that m serves every one of acked, with its own public half, unless its destroy began; nothing whose destroy
// was acknowledged; and no other key under a name that was acknowledged.
func (s *killScene) served(m *Mirror, notes killNotes, acked map[Version]bool) {
	s.t.Helper()
	ctx := s.t.Context()
	set, err := m.JWKS(ctx, "")
	require.NoError(s.t, err, "a set is never refused for a writer that was killed")
	published := map[Version]bool{}
	right := func(v Version, thumbprint string) {
		s.t.Helper()
		require.False(s.t, notes.destroyed[v], "%s is back", v)
		if made := notes.made[v]; made != "" {
			require.Equal(s.t, made, thumbprint, "%s is another key", v)
		}
	}
	for _, k := range set.Keys() {
		published[nameOf(k.Ref())] = true
		right(nameOf(k.Ref()), k.Thumbprint())
	}
	for v := range notes.made {
		ref, err := m.GetKey(ctx, v.KID, v.Version)
		k, kerr := m.PublicJWK(ctx, v.KID, v.Version)
		list, _ := m.ListVersions(ctx, v.KID)
		for _, ref := range list.Keys {
			right(nameOf(ref), ref.Fingerprint)
		}
		switch {
		case notes.destroyed[v]:
			require.ErrorIs(s.t, err, provider.ErrNotFound)
			require.ErrorIs(s.t, kerr, provider.ErrNotFound)
		case !notes.destroying[v] && acked[v]:
			require.NoError(s.t, err, "%s was acknowledged and is lost", v)
			require.NoError(s.t, kerr)
			right(v, ref.Fingerprint)
			right(v, k.Thumbprint())
			require.Equal(s.t, ref.State.Published(), published[v], v)
		}
	}
}
