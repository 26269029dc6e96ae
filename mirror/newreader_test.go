package mirror

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// newReaderOf returns a reader of what the rig keeps, as a host without its primary has it.
func newReaderOf(t testing.TB, r *rig) *Mirror {
	t.Helper()
	pin, err := r.ManifestPin(t.Context())
	require.NoError(t, err)
	reader, err := NewReader(r.secondary.Reopen(), Config{ManifestDir: r.cfg.ManifestDir, Pin: pin, StateDir: filepath.Join(tempDir(t), "own")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, reader.Close()) })
	return reader
}

func TestAReaderFollowsTheMirror(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "a"})
	r.create(provider.KeySpec{KID: "b"})
	reader := newReaderOf(t, r)
	requireSame := func() {
		t.Helper()
		want, err := r.JWKS(t.Context(), "")
		require.NoError(t, err)
		have, err := reader.JWKS(t.Context(), "")
		require.NoError(t, err)
		require.JSONEq(t, string(want.JSON()), string(have.JSON()))
		require.Equal(t, provider.Secondary, have.Provenance.Source)
		require.False(t, have.Provenance.Stale || have.Provenance.Unauthenticated || have.Provenance.Orphan)
		require.Contains(t, have.Provenance.Reason, "a reader has no primary")
	}
	requireSame()

	r.rotate("a")
	_, err := r.DestroyKey(t.Context(), "b", 1)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // another process's change is noticed within 100 ms
		_, err := reader.GetKey(t.Context(), "b", 1)
		return errors.Is(err, provider.ErrNotFound)
	}, time.Minute, 10*time.Millisecond)
	requireSame()

	_, err = reader.GetKey(t.Context(), "never made", 1)
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = reader.GetKey(t.Context(), "never-made", 1)
	require.ErrorIs(t, err, provider.ErrUnavailable, "only a primary could tell")
}

func TestAReaderDoesNotMissAPrimary(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "a"})
	pin, err := r.ManifestPin(t.Context())
	require.NoError(t, err)
	var log strings.Builder
	reader, err := NewReader(r.secondary.Reopen(), Config{ManifestDir: r.cfg.ManifestDir, Pin: pin, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	_, err = reader.GetKey(t.Context(), "a", 1)
	require.NoError(t, err)
	r.secondary.Forget("a", 1)
	_, err = reader.JWKS(t.Context(), "")
	require.ErrorIs(t, err, provider.ErrTampered)
	require.NotContains(t, err.Error(), "primary")
	require.NoError(t, reader.Close())
	require.Empty(t, log.String(), "it was made without one")
}

func TestAReaderWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		ref := r.create(provider.KeySpec{KID: "a"})
		reader := newReaderOf(t, r)
		require.NoError(t, r.Close())
		files, copies := contents(t, r.cfg.ManifestDir), r.copies()

		public, err := reader.PublicJWK(t.Context(), "a", 1)
		require.NoError(t, err)
		require.Equal(t, ref.Fingerprint, public.Thumbprint())
		material, err := provider.PublicMaterial(public.PublicKey())
		require.NoError(t, err)
		tests := []struct {
			name string
			want error
			call func(ctx context.Context) error
		}{
			{"Capabilities", provider.ErrUnavailable, func(ctx context.Context) error { _, err := reader.Capabilities(ctx); return err }},
			{"CreateKey", provider.ErrUnavailable, func(ctx context.Context) error { _, err := reader.CreateKey(ctx, ref.Spec()); return err }},
			{"ImportKey", provider.ErrUnavailable, func(ctx context.Context) error { _, err := reader.ImportKey(ctx, ref.Spec(), material); return err }},
			{"RotateKey", provider.ErrUnavailable, func(ctx context.Context) error { _, err := reader.RotateKey(ctx, "a", provider.Rotation{}); return err }},
			{"DestroyKey", provider.ErrUnavailable, func(ctx context.Context) error { _, err := reader.DestroyKey(ctx, "a", 1); return err }},
			{"DestroyKey of all", provider.ErrUnavailable, func(ctx context.Context) error {
				_, err := reader.DestroyKey(ctx, "a", provider.AllVersions)
				return err
			}},
			{"Reconcile", provider.ErrUnavailable, func(ctx context.Context) error { _, err := reader.Reconcile(ctx); return err }},
			{"Health", provider.ErrUnavailable, reader.Health},
			{"ManifestPin", provider.ErrUnsupported, func(ctx context.Context) error { _, err := reader.ManifestPin(ctx); return err }},
			{"Signer", provider.ErrUnsupported, func(ctx context.Context) error { _, err := reader.Signer(ctx, "a", 0); return err }},
			{"ExportKey", provider.ErrUnavailable, func(ctx context.Context) error { _, err := reader.ExportKey(ctx, "a", 1); return err }},
			{"PutVersion", provider.ErrUnsupported, func(ctx context.Context) error { _, err := reader.PutVersion(ctx, ref, material); return err }},
			{"Relabel", provider.ErrUnsupported, func(ctx context.Context) error { _, err := reader.Relabel(ctx, "a", 1, "web"); return err }},
		}
		for _, tt := range tests {
			require.ErrorIs(t, tt.call(t.Context()), tt.want, tt.name)
		}

		time.Sleep(3 * DefaultReconcileEvery)
		synctest.Wait()
		again, err := reader.PublicJWK(t.Context(), "a", 1)
		require.NoError(t, err)
		require.Equal(t, public.JSON(), again.JSON(), "still served, and not yet stale")
		require.Equal(t, files, contents(t, r.cfg.ManifestDir))
		require.Equal(t, copies, r.copies())
	})
}

// contents returns the files of a directory with what stands in them.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(data)
	}
	return files
}
