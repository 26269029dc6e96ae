package mirror

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// rig is a Mirror over two fakes, which can be restarted: closed and made again over the same stores and state.
type rig struct {
	*Mirror
	t                  testing.TB
	primary, secondary *providertest.Fake
	plain              bool // the secondary is no replica
	cfg                Config
	log                *logBuffer
}

// newRig returns a Mirror over two empty fakes. The state is in a directory of its own.
func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	if cfg.ManifestDir == "" {
		cfg.ManifestDir = tempDir(t)
	}
	return startRig(t, &rig{t: t, cfg: cfg, primary: providertest.NewFake(t), secondary: providertest.NewFake(t)})
}

// newPlainRig is newRig with a secondary that names its keys itself.
func newPlainRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	if cfg.ManifestDir == "" {
		cfg.ManifestDir = tempDir(t)
	}
	return startRig(t, &rig{t: t, cfg: cfg, plain: true, primary: providertest.NewFake(t), secondary: providertest.NewFake(t)})
}

func startRig(t testing.TB, r *rig) *rig {
	t.Helper()
	if r.cfg.Logger == nil {
		r.log = &logBuffer{}
		r.cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	}
	var secondary provider.Provider = r.secondary
	if r.plain {
		secondary = r.secondary.Plain()
	}
	m, err := New(r.primary, secondary, r.cfg)
	require.NoError(t, err)
	r.Mirror = m
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return r
}

// restart closes the Mirror and makes another one, as a new process would.
func (r *rig) restart() *rig {
	r.t.Helper()
	require.NoError(r.t, r.Close())
	r.primary, r.secondary = r.primary.Reopen(), r.secondary.Reopen()
	return startRig(r.t, r)
}

// create makes a key through the mirror, and requires it to be mirrored.
func (r *rig) create(spec provider.KeySpec) provider.KeyRef {
	r.t.Helper()
	if spec.Alg == "" {
		spec.Alg = provider.Ed25519
	}
	ref, err := r.CreateKey(r.t.Context(), spec)
	require.NoError(r.t, err)
	require.True(r.t, ref.Mirroring.Mirrored, ref.Mirroring.Reason)
	return ref
}

func (r *rig) rotate(kid string) provider.KeyRef {
	r.t.Helper()
	ref, err := r.RotateKey(r.t.Context(), kid, provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(r.t, err)
	require.True(r.t, ref.Mirroring.Mirrored, ref.Mirroring.Reason)
	return ref
}

// x returns the thumbprint of a version as the mirror serves it.
func (r *rig) x(kid string, version int) string {
	r.t.Helper()
	k, err := r.PublicJWK(r.t.Context(), kid, version)
	require.NoError(r.t, err)
	return k.Thumbprint()
}

// jwks returns the JWK Set that the mirror serves, and the kid members in it.
func (r *rig) jwks(prefix string) (kids []string, set provider.JWKSet) {
	r.t.Helper()
	set, err := r.JWKS(r.t.Context(), prefix)
	require.NoError(r.t, err)
	kids = []string{}
	for _, k := range set.Keys() {
		kids = append(kids, k.JWKKID())
	}
	return kids, set
}

// copies returns what the secondary holds. It must be there to tell.
func (r *rig) copies() []string {
	r.t.Helper()
	f := r.secondary.Reopen()
	defer f.Close()
	list, err := f.ListKeys(context.Background())
	require.NoError(r.t, err)
	names := []string{}
	for _, ref := range list.Keys {
		versions, err := f.ListVersions(context.Background(), ref.KID)
		require.NoError(r.t, err)
		for _, v := range versions.Keys {
			names = append(names, v.JWKKID())
		}
	}
	return names
}

func names(list provider.KeyList) []string {
	names := []string{}
	for _, ref := range list.Keys {
		names = append(names, ref.JWKKID())
	}
	return names
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tempDir is t.TempDir in memory where the system has such a place. What these tests are about needs no disk, and thousands
// of syncs of a busy one take minutes. That files are durable is tested in fileops and softfile.
func tempDir(t testing.TB) string {
	t.Helper()
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "mirror")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}
