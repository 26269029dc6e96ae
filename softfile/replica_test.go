//go:build unix

package softfile

import (
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

func TestCopiesThatAreRefused(t *testing.T) {
	good := provider.KeyRef{KID: "k", Version: maxVersion, Alg: provider.Ed25519, Fingerprint: fingerprintOfZeros}
	for _, tt := range []struct {
		name string
		edit func(*provider.KeyRef)
	}{
		{"a version after the last", func(r *provider.KeyRef) { r.Version++ }},
		{"retired before it stops", func(r *provider.KeyRef) { r.RetireAfter = -time.Second }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openedWith(t, Config{Dir: t.TempDir()})
			ref := good
			tt.edit(&ref)
			require.ErrorIs(t, second(s.PutVersion(t.Context(), ref, ed25519Public(t))), provider.ErrInvalid)
			require.ErrorIs(t, second(s.GetKey(t.Context(), "k", 0)), provider.ErrNotFound)
			require.NoError(t, second(s.PutVersion(t.Context(), good, ed25519Public(t))))
		})
	}
}

// What a private half may be used for is encrypted with it.
func TestACopyWithOtherUsesIsEncryptedAnew(t *testing.T) {
	private, err := provider.Material(newSeed())
	require.NoError(t, err)
	dir := t.TempDir()
	s, locked := opened(t, dir), openedWith(t, Config{Dir: dir})
	ref := provider.KeyRef{KID: "k", Version: 1, Alg: provider.Ed25519, Fingerprint: fingerprintOfZeros, Uses: []provider.KeyUse{provider.UseVerify}}
	require.NoError(t, second(s.PutVersion(t.Context(), ref, private)))
	ref.Uses = []provider.KeyUse{provider.UseSign, provider.UseVerify}
	require.ErrorIs(t, second(locked.PutVersion(t.Context(), ref, ed25519Public(t))), provider.ErrAuth)
	require.NoError(t, second(s.PutVersion(t.Context(), ref, ed25519Public(t))))
	require.NoError(t, second(opened(t, dir).Signer(t.Context(), "k", 1)))
}

func TestACopyOfASecretIsNotWrittenTwice(t *testing.T) {
	s := opened(t, t.TempDir())
	ref := provider.KeyRef{KID: "k", Version: 1, Alg: provider.AES256GCM}
	put := func() os.FileInfo {
		m := provider.KeyMaterial{Private: provider.NewSecret(make([]byte, 32))}
		require.NoError(t, second(s.PutVersion(t.Context(), ref, m)))
		file, err := os.Stat(filepath.Join(s.path, "keys/k/1.json"))
		require.NoError(t, err)
		return file
	}
	first := put()
	require.True(t, os.SameFile(first, put()))
}

// What a writer that died has left is not called stored before it is sure to stay.
func TestACopyThatStandsThereIsSynced(t *testing.T) {
	f := &faulty{errno: syscall.EIO}
	s, err := open(t.Context(), Config{Dir: t.TempDir()}, f.hook, quickly)
	require.NoError(t, err)
	defer s.Close()
	put := func() error {
		ref := provider.KeyRef{KID: "k", Version: 1, Alg: provider.Ed25519, Fingerprint: fingerprintOfZeros}
		return second(s.PutVersion(t.Context(), ref, ed25519Public(t)))
	}
	require.NoError(t, put())
	f.every = func(op fileops.Op) bool { return op.Kind == fileops.OpSyncDir && op.Name == "keys/k" }
	require.ErrorIs(t, put(), provider.ErrUnavailable)
	f.every = nil
	require.NoError(t, put())
}

func TestACopyOfTheSameKeyForAnotherAlgorithm(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, provider.MinRSABits)
	require.NoError(t, err)
	material, err := provider.PublicMaterial(key.Public())
	require.NoError(t, err)
	fingerprint, err := provider.Thumbprint(key.Public())
	require.NoError(t, err)
	s := openedWith(t, Config{Dir: t.TempDir()})
	ref := provider.KeyRef{KID: "k", Version: 1, Alg: provider.RSAPSSSHA256, Fingerprint: fingerprint}
	require.NoError(t, second(s.PutVersion(t.Context(), ref, material)))
	ref.Alg = provider.RSAPKCS1SHA256
	require.ErrorIs(t, second(s.PutVersion(t.Context(), ref, material)), provider.ErrExists)
}

func TestACopyBesideARecordThatCannotBeRead(t *testing.T) {
	h := newHostile(t)
	h.write(t, "{")
	s := opened(t, h.dir)
	ref := provider.KeyRef{KID: "victim", Version: 2, Alg: provider.Ed25519, Fingerprint: fingerprintOfZeros}
	require.ErrorIs(t, second(s.PutVersion(t.Context(), ref, ed25519Public(t))), provider.ErrTampered)
	require.Equal(t, "{", read(t, h.path))
	ref.Version = 9
	require.NoError(t, second(s.PutVersion(t.Context(), ref, ed25519Public(t))))
}
