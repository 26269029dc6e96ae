package mirror

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// killScene is a mirror whose writers are killed, and what they noted.
type killScene struct {
	t *testing.T
	target
	notes   string
	out     *os.File
	seen    map[Version]string // thumbprint of every version that was ever there
	answers atomic.Int64       // to readers, while victims were at work
}

func newKillScene(t *testing.T, g target) *killScene {
	t.Helper()
	s := &killScene{t: t, target: g, notes: filepath.Join(t.TempDir(), "notes"), seen: map[Version]string{}}
	m := s.writer()
	_, err := m.Reconcile(t.Context()) // the first manifest
	require.NoError(t, err)
	s.Pin, err = m.ManifestPin(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.Close())
	s.out, err = os.OpenFile(s.notes, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.out.Close()) })
	return s
}

// writer opens the mirror as victims do.
func (s *killScene) writer() *Mirror {
	s.t.Helper()
	m, err := s.open(s.t.Context(), "own")
	require.NoError(s.t, err)
	return m
}

// reader opens the mirror while its primary is away, for a reader whose own directory remembers every generation.
func (s *killScene) reader() *Mirror {
	s.t.Helper()
	away := providertest.NewFake(nil)
	away.Unplug()
	m, err := s.over(s.t.Context(), away, "reader")
	require.NoError(s.t, err)
	return m
}

// start runs a victim, and returns when it has opened its stores: what comes before changes nothing.
func (s *killScene) start() *exec.Cmd {
	s.t.Helper()
	variable, err := json.Marshal(s.target)
	require.NoError(s.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"="+string(variable))
	cmd.Stdout, cmd.Stderr = s.out, os.Stderr
	_, err = cmd.StdinPipe() // closed by Wait, and with this process
	require.NoError(s.t, err)
	before, err := s.out.Stat()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	require.Eventually(s.t, func() bool {
		now, err := s.out.Stat()
		return err == nil && now.Size() > before.Size()
	}, 5*time.Minute, time.Millisecond, "a victim wrote nothing")
	return cmd
}

// look requires that what the victims left is in order: at first to a reader while the primary is away, then to the next
// writer, and after one pass of that to both, without a difference between the stores.
func (s *killScene) look() {
	s.t.Helper()
	notes, err := readKillNotes(s.notes)
	require.NoError(s.t, err)
	mirrored := func(v Version) bool { return notes.made[v].mirrored }
	all := func(Version) bool { return true }
	s.without(func(m *Mirror) { s.served(m, notes, mirrored) })
	s.onToken(notes)

	m := s.writer()
	s.served(m, notes, all)
	s.reconcile(m)
	held := s.held(m.primary)
	require.Equal(s.t, held, s.held(m.copies.store), "the stores differ")
	for v, thumbprint := range held {
		if known := s.seen[v]; known != "" {
			require.Equal(s.t, known, thumbprint, "%s was given twice", v)
		}
		s.seen[v] = thumbprint
	}
	s.served(m, notes, all)
	s.signs(m, notes)
	require.NoError(s.t, m.Close())

	s.without(func(m *Mirror) { s.served(m, notes, all) })
	s.onTokenRepaired()
}

// reconcile makes one pass, and requires that it leaves nothing to do.
func (s *killScene) reconcile(m *Mirror) {
	s.t.Helper()
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
}

// without runs f with the mirror of a reader while the primary is away.
func (s *killScene) without(f func(*Mirror)) {
	s.t.Helper()
	m := s.reader()
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
