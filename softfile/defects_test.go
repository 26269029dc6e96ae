//go:build unix

package softfile

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// newSeed is the key of fingerprintOfZeros.
func newSeed() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

// The conformance suite tests what the contract says of the original's defects L01 to L12. These tests are of the files.

// F01: folders 0755 and private keys 0644, in plain text.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "store")
	s := opened(t, dir)
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	require.NoError(t, second(s.RotateKey(t.Context(), "k", provider.Rotation{})))
	require.NoError(t, second(s.DestroyKey(t.Context(), "k", 1)))
	modes := func() map[string]fs.FileMode {
		found := map[string]fs.FileMode{}
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			name, err := filepath.Rel(dir, path)
			found[name] = info.Mode()
			return err
		}))
		return found
	}
	ours := modes()
	require.Equal(t, map[string]fs.FileMode{
		".": 0o700 | fs.ModeDir, "keys": 0o700 | fs.ModeDir, "keys/k": 0o700 | fs.ModeDir,
		"keys/k/2.json": 0o600, "keys/k/destroyed.json": 0o600, "lock": 0o600, "storekey.jwe": 0o600,
	}, ours)

	for name := range ours {
		require.NoError(t, os.Chmod(filepath.Join(dir, name), ours[name].Perm()|0o044))
	}
	var log bytes.Buffer
	openedWith(t, Config{Dir: dir, Passphrase: passphrase("open sesame"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.Equal(t, ours, modes(), "looser modes are repaired")
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "others had access")
}

// F02, F03 and F04, no write was synced or in one step, are excluded by TestACrashLeavesTheOldStateOrTheNewOne.

// F05: destroying the key "" or ".." deleted the whole store, and "/abs/dir" that directory.
func TestAKIDIsNoPath(t *testing.T) {
	var touched []fileops.Op
	dir := filepath.Join(t.TempDir(), "store")
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, func(op fileops.Op) error {
		touched = append(touched, op)
		return nil
	}, quickly)
	require.NoError(t, err)
	defer s.Close()
	touched = nil
	for _, kid := range []string{"..", ".", "/etc", "a/b", "../other", "a\x00b", `a\b`, "", ".hidden", strings.Repeat("x", 129)} {
		errs := []error{
			second(s.GetKey(t.Context(), kid, 0)), second(s.DestroyKey(t.Context(), kid, provider.AllVersions)),
			second(s.RotateKey(t.Context(), kid, provider.Rotation{})), second(s.PublicJWK(t.Context(), kid, 0)),
			second(s.ListVersions(t.Context(), kid)), second(s.Signer(t.Context(), kid, 0)), second(s.ExportKey(t.Context(), kid, 0)),
			second(s.PutVersion(t.Context(), provider.KeyRef{KID: kid, Version: 1, Alg: provider.Ed25519, Bits: 256, Fingerprint: fingerprintOfZeros}, ed25519Public(t))),
		}
		if kid != "" { // which asks for a random one
			errs = append(errs, second(s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.Ed25519})),
				second(s.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.Ed25519}, ed25519Public(t))))
		}
		for _, err := range errs {
			require.ErrorIs(t, err, provider.ErrInvalid, "kid %q", kid)
		}
	}
	require.Empty(t, touched, "no file was touched")
}

// F08: importing a key again as public left its private half in the store, and changed another version.
func TestAnImportChangesNothingThatIsThere(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	private, err := provider.Material(newSeed())
	require.NoError(t, err)
	require.NoError(t, second(s.ImportKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519}, private)))
	require.NoError(t, second(s.RotateKey(t.Context(), "k", provider.Rotation{})))
	before := snapshot(t, dir)
	spec := provider.KeySpec{KID: "k", Alg: provider.Ed25519, Export: provider.ExportPublicOnly}
	require.ErrorIs(t, second(s.ImportKey(t.Context(), spec, ed25519Public(t))), provider.ErrExists)
	require.Equal(t, before, snapshot(t, dir))
}

// L08: a policy that forbids the export made the private key disappear, or did not keep it in.
func TestAPolicyBoundsTheExportAndNotTheUse(t *testing.T) {
	s := opened(t, t.TempDir())
	for _, policy := range []provider.ExportPolicy{provider.ExportNone, provider.ExportPublicOnly} {
		for _, alg := range []provider.KeyAlg{provider.Ed25519, provider.AES256GCM} {
			kid := strings.ReplaceAll(string(policy+"-")+string(alg), "_", "-")
			ref, err := s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg, Export: policy})
			require.NoError(t, err)
			require.True(t, ref.Private)
			require.ErrorIs(t, second(s.ExportKey(t.Context(), kid, 0)), provider.ErrNotExportable)
			if alg == provider.Ed25519 {
				require.NoError(t, second(s.Signer(t.Context(), kid, 0)))
			} else {
				require.NoError(t, second(s.AEAD(t.Context(), kid, 0)))
			}
		}
	}
}

func TestAKeyIsMadeInVainForNoOneWhoLeft(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	before := snapshot(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	s.hook = func(fileops.Op) error { cancel(); return nil } // the caller leaves while the store is busy
	s.index.hook = s.hook
	s.index.forget()
	_, err := s.CreateKey(ctx, provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, snapshot(t, dir))
}

// Two rotations at once: the one that was outrun by another size makes its key again.
func TestARotationThatIsOutrun(t *testing.T) {
	dir := t.TempDir()
	s, other := opened(t, dir), opened(t, dir)
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.RSAPSSSHA256, Bits: 2048})))
	var once sync.Once
	s.hook = func(op fileops.Op) error {
		if op.Kind == fileops.OpLock {
			once.Do(func() {
				if _, err := other.RotateKey(t.Context(), "k", provider.Rotation{Bits: 2056}); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	}
	ref, err := s.RotateKey(t.Context(), "k", provider.Rotation{})
	require.NoError(t, err)
	require.Equal(t, 3, ref.Version)
	require.Equal(t, 2056, ref.Bits, "as the latest version, which is the other's")
}

// No private byte, and no passphrase, stands in any file at any time, in any form that is likely.
func TestNoPrivateByteStandsInAnyFile(t *testing.T) {
	dir := t.TempDir()
	var written bytes.Buffer
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, func(op fileops.Op) error {
		written.Write(op.Data) // temporary files too
		return nil
	}, quickly)
	require.NoError(t, err)
	defer s.Close()
	secrets := [][]byte{[]byte("open sesame")}
	require.NoError(t, s.vault.use(func(key []byte) error {
		secrets = append(secrets, bytes.Clone(key))
		return nil
	}))
	for _, alg := range provider.Algs() {
		kid := strings.ToLower(strings.ReplaceAll(string(alg), "_", "-"))
		ref, err := s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg, Bits: rsaBits(alg), Export: provider.ExportSecretWhenAllowed})
		require.NoError(t, err)
		v, err := s.index.entry(kid).version(kid, ref.Version)
		require.NoError(t, err)
		key, err := s.vault.open(v)
		require.NoError(t, err)
		secrets = append(secrets, privateBytes(t, key)...)
	}
	for _, content := range snapshot(t, dir) {
		written.WriteString(content)
	}
	require.Greater(t, len(secrets), 15)
	for _, secret := range secrets {
		for _, form := range []string{
			string(secret), hex.EncodeToString(secret), base64.RawStdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
		} {
			require.NotContains(t, written.String(), form)
		}
	}
}

func privateBytes(t *testing.T, key provider.ParsedMaterial) [][]byte {
	t.Helper()
	switch k := key.Private.(type) {
	case *rsa.PrivateKey:
		return [][]byte{k.D.Bytes(), k.Primes[0].Bytes(), k.Primes[1].Bytes()}
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		require.NoError(t, err)
		return [][]byte{d}
	case ed25519.PrivateKey:
		return [][]byte{k.Seed()}
	case *ecdh.PrivateKey:
		return [][]byte{k.Bytes()}
	}
	return [][]byte{key.Symmetric.Expose()}
}
