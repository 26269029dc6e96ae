//go:build unix

package softfile

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// original builds a store as swarmauri_keyprovider_file writes it.
type original struct{ dir string }

func newOriginal(t *testing.T) original {
	t.Helper()
	o := original{t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(o.dir, "keys"), 0o755))
	return o
}

func (o original) write(t *testing.T, path string, data []byte) {
	t.Helper()
	path = filepath.Join(o.dir, "keys", path)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
}

const originalCreated = 1_700_000_000

// meta writes a meta.json, in which change overrides members.
func (o original) meta(t *testing.T, kid, alg string, change map[string]any) {
	t.Helper()
	meta := map[string]any{
		"kid": kid, "klass": "asym", "alg": alg, "uses": []string{}, "export_policy": "secret_when_allowed",
		"label": nil, "tags": map[string]any{}, "created_at": originalCreated,
	}
	for k, v := range change {
		meta[k] = v
	}
	text, err := json.MarshalIndent(meta, "", "  ")
	require.NoError(t, err)
	o.write(t, kid+"/meta.json", text)
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return der
}

func spki(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.(interface{ Public() crypto.PublicKey }).Public())
	require.NoError(t, err)
	return der
}

// pair writes both halves of a version, as the original does by default.
func (o original) pair(t *testing.T, version string, key crypto.PrivateKey) {
	t.Helper()
	o.write(t, version+"/public.pem", pemOf("PUBLIC KEY", spki(t, key)))
	o.write(t, version+"/private.pem", pemOf("PRIVATE KEY", pkcs8(t, key)))
}

func (o original) secret(t *testing.T, version string, key []byte) {
	t.Helper()
	o.write(t, version+"/private.pem", fmt.Appendf(nil, `{"kty": "oct", "k": "%s"}`, base64.RawURLEncoding.EncodeToString(key)))
	o.write(t, version+"/public.jwk", []byte(`{"kty": "oct", "alg": "A256GCM"}`))
}

func originalKeys(t *testing.T) map[provider.KeyAlg]crypto.PrivateKey {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[provider.KeyAlg]crypto.PrivateKey{
		provider.Ed25519: newSeed(), provider.X25519: x, provider.ECDSAP256SHA256: ec,
		provider.RSAOAEPSHA256: rsaKey, provider.RSAPSSSHA256: rsaKey,
	}
}

func TestAnOriginalStoreMovesOver(t *testing.T) {
	o := newOriginal(t)
	keys := originalKeys(t)
	for alg, key := range keys {
		o.meta(t, kidFor(alg), string(alg), map[string]any{"label": "old", "tags": map[string]any{"team": "a", "mirrored": true, "n": 7}})
		o.pair(t, kidFor(alg)+"/v1", key)
	}
	secret := []byte("0123456789abcdef0123456789abcdef")
	for _, alg := range []provider.KeyAlg{provider.AES256GCM, provider.HMACSHA256} {
		o.meta(t, kidFor(alg), string(alg), map[string]any{"klass": "sym"})
		o.secret(t, kidFor(alg)+"/v1", secret)
	}
	second25519 := ed25519.NewKeyFromSeed([]byte(strings.Repeat("b", 32)))
	o.pair(t, "ed25519/v2", second25519)
	o.pair(t, "ed25519/v10", second25519)
	source := snapshot(t, o.dir)

	s := opened(t, t.TempDir())
	report, err := s.ImportOriginal(t.Context(), o.dir)
	require.NoError(t, err)
	require.Empty(t, report.Left)
	require.Len(t, report.Taken, len(keys)+4)
	require.Equal(t, source, snapshot(t, o.dir), "the source is not changed")

	for alg, key := range keys {
		got, err := s.ExportKey(t.Context(), kidFor(alg), 1)
		require.NoError(t, err)
		require.Equal(t, pkcs8(t, key), got.Expose(), alg)
		ref, err := s.GetKey(t.Context(), kidFor(alg), 1)
		require.NoError(t, err)
		require.Equal(t, time.Unix(originalCreated, 0).UTC(), ref.Created)
		require.Equal(t, alg.Uses(), ref.Uses, "an empty list allowed everything")
		require.Equal(t, "old", ref.Label)
		require.Equal(t, map[string]string{"team": "a", "mirrored": "true", "n": "7"}, ref.Tags)
		require.True(t, ref.Imported)
	}
	for _, alg := range []provider.KeyAlg{provider.AES256GCM, provider.HMACSHA256} {
		got, err := s.ExportKey(t.Context(), kidFor(alg), 1)
		require.NoError(t, err)
		require.Equal(t, secret, got.Expose())
	}

	// The original published the latest version of a key only.
	versions, err := s.ListVersions(t.Context(), "ed25519")
	require.NoError(t, err)
	require.Equal(t, []string{"ed25519.1", "ed25519.2", "ed25519.10"}, names(versions.Keys))
	for i, want := range []provider.State{provider.Retired, provider.Retired, provider.Active} {
		require.Equal(t, want, versions.Keys[i].State)
	}
	set, err := s.JWKS(t.Context(), "ed25519")
	require.NoError(t, err)
	require.Equal(t, []string{"ed25519.10"}, jwkNames(set))
	next, err := s.RotateKey(t.Context(), "ed25519", provider.Rotation{})
	require.NoError(t, err)
	require.Equal(t, 11, next.Version)

	before := snapshot(t, s.path)
	again, err := s.ImportOriginal(t.Context(), o.dir)
	require.NoError(t, err)
	require.Equal(t, names(report.Taken), names(again.Taken))
	require.Equal(t, before, snapshot(t, s.path), "a second time changes nothing")
}

func TestAnOriginalStoreMovesIntoAPublicOne(t *testing.T) {
	o := newOriginal(t)
	o.meta(t, "pair", "ED25519", nil)
	o.pair(t, "pair/v1", newSeed())
	o.meta(t, "secret", "AES256_GCM", nil)
	o.secret(t, "secret/v1", make([]byte, 32))
	o.meta(t, "derived", "ED25519", nil)
	o.write(t, "derived/v1/private.pem", pkcs8(t, newSeed()))
	dir := t.TempDir()
	report, err := openedWith(t, Config{Dir: dir}).ImportOriginal(t.Context(), o.dir)
	require.NoError(t, err)
	require.Equal(t, []string{"pair.1"}, names(report.Taken))
	require.False(t, report.Taken[0].Private)
	require.Equal(t, map[string]error{
		"pair.1: private half": provider.ErrAuth, "keys/secret/v1": provider.ErrAuth, "keys/secret": provider.ErrNotFound,
		"keys/derived/v1": provider.ErrAuth, "keys/derived": provider.ErrNotFound,
	}, reasons(t, report))

	report, err = opened(t, dir).ImportOriginal(t.Context(), o.dir)
	require.NoError(t, err)
	require.Empty(t, report.Left)
	for _, ref := range report.Taken {
		require.True(t, ref.Private, "the private halves are added")
	}
}

// reasons returns the sentinel of each reason.
func reasons(t *testing.T, report Report) map[string]error {
	t.Helper()
	all := map[string]error{}
	for _, l := range report.Left {
		for _, sentinel := range []error{provider.ErrAuth, provider.ErrNotFound, provider.ErrInvalid, provider.ErrTampered, provider.ErrExists} {
			if isOneOf(l.Reason, sentinel) {
				all[l.Name] = sentinel
			}
		}
		require.Contains(t, all, l.Name, "%v", l)
	}
	require.Len(t, all, len(report.Left))
	return all
}

func TestWhatCannotBeTakenFromAnOriginalStore(t *testing.T) {
	const kid = "k"
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("S", 32)))
	private := pemOf("PRIVATE KEY", pkcs8(t, other))
	secrets := []string{strings.Repeat("S", 20), base64.StdEncoding.EncodeToString(other.Seed())[:20], "SGVsbG8"}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)

	tests := []struct {
		name  string
		build func(t *testing.T, o original)
		taken []string
		left  map[string]error
	}{
		{"F03: a truncated meta.json", func(t *testing.T, o original) {
			o.pair(t, "k/v1", other)
			o.write(t, "k/meta.json", []byte(`{"kid": "k", "klass"`))
		}, nil, map[string]error{"keys/k": provider.ErrTampered}},
		{"F03: a crash before meta.json", func(t *testing.T, o original) { o.pair(t, "k/v1", other) }, nil, map[string]error{"keys/k": provider.ErrInvalid}},
		{"F03: a version without files", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.pair(t, "k/v1", other)
			require.NoError(t, os.Mkdir(filepath.Join(o.dir, "keys/k/v2"), 0o755))
		}, []string{"k.1"}, map[string]error{"keys/k/v2": provider.ErrNotFound}},
		{"a key without versions", func(t *testing.T, o original) { o.meta(t, kid, "ED25519", nil) }, nil, map[string]error{"keys/k": provider.ErrNotFound}},
		{"F04: a torn private.pem beside a whole public.pem", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.pair(t, "k/v1", other)
			o.write(t, "k/v1/private.pem", private[:len(private)-40])
		}, []string{"k.1"}, map[string]error{"k.1: private half": provider.ErrInvalid}},
		{"F04: a torn public.pem", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.pair(t, "k/v1", other)
			o.write(t, "k/v1/public.pem", []byte("-----BEGIN PUBLIC"))
		}, nil, map[string]error{"keys/k/v1": provider.ErrInvalid, "keys/k": provider.ErrNotFound}},
		{"F04: an empty public.pem beside a whole private.pem", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.pair(t, "k/v1", other)
			o.write(t, "k/v1/public.pem", nil)
		}, []string{"k.1"}, map[string]error{}},
		{"F06: a private.pem of another pair", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.pair(t, "k/v1", other)
			o.write(t, "k/v1/public.pem", pemOf("PUBLIC KEY", spki(t, newSeed())))
			o.pair(t, "k/v2", other)
		}, []string{"k.2"}, map[string]error{"keys/k/v1": provider.ErrInvalid}},
		{"F06: no private.pem", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.write(t, "k/v1/public.pem", pemOf("PUBLIC KEY", spki(t, other)))
		}, []string{"k.1"}, map[string]error{"k.1: private half": provider.ErrNotFound}},
		{"no private.pem under public_only", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", map[string]any{"export_policy": "public_only"})
			o.write(t, "k/v1/public.pem", pemOf("PUBLIC KEY", spki(t, other)))
		}, []string{"k.1"}, map[string]error{}},
		{"F09: DER and PKCS #1", func(t *testing.T, o original) {
			o.meta(t, kid, "RSA_PSS_SHA256", nil)
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			require.NoError(t, err)
			o.write(t, "k/v1/public.pem", spki(t, key))
			o.write(t, "k/v1/private.pem", x509.MarshalPKCS1PrivateKey(key))
		}, []string{"k.1"}, map[string]error{}},
		{"F09: material that is no key", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.write(t, "k/v1/private.pem", []byte("SGVsbG8"))
		}, nil, map[string]error{"keys/k/v1": provider.ErrInvalid, "keys/k": provider.ErrNotFound}},
		{"F10: a public_only AES key, which exists nowhere", func(t *testing.T, o original) {
			o.meta(t, kid, "AES256_GCM", map[string]any{"export_policy": "public_only"})
			o.write(t, "k/v1/private.pem", []byte(`{"kty": "oct", "k": null}`))
			o.write(t, "k/v2/public.jwk", []byte(`{"kty": "oct", "alg": "A256GCM"}`))
		}, nil, map[string]error{"keys/k/v1": provider.ErrNotFound, "keys/k/v2": provider.ErrNotFound, "keys/k": provider.ErrNotFound}},
		{"L12: an AES key of one byte, and one that is no base64url", func(t *testing.T, o original) {
			o.meta(t, kid, "AES256_GCM", nil)
			o.secret(t, "k/v1", []byte{1})
			o.write(t, "k/v2/private.pem", []byte(`{"kty": "oct", "k": "SGVsbG8 SGVsbG8"}`))
			o.write(t, "k/v3/private.pem", []byte(`{"kty": "oct", "k": SGVsbG8}`))
		}, nil, map[string]error{"keys/k/v1": provider.ErrInvalid, "keys/k/v2": provider.ErrInvalid, "keys/k/v3": provider.ErrInvalid, "keys/k": provider.ErrNotFound}},
		{"L12: a key of another algorithm", func(t *testing.T, o original) {
			o.meta(t, kid, "ECDSA_P256_SHA256", nil)
			o.pair(t, "k/v1", other)
		}, nil, map[string]error{"keys/k/v1": provider.ErrInvalid, "keys/k": provider.ErrNotFound}},
		{"an RSA key that is too small", func(t *testing.T, o original) {
			o.meta(t, kid, "RSA_PSS_SHA256", nil)
			o.pair(t, "k/v1", small)
		}, nil, map[string]error{"keys/k/v1": provider.ErrInvalid, "keys/k": provider.ErrNotFound}},
		{"M24: a private key in the place of the public one", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			o.write(t, "k/v1/public.pem", private)
		}, nil, map[string]error{"keys/k/v1": provider.ErrInvalid, "keys/k": provider.ErrNotFound}},
		{"an algorithm that there is not here", func(t *testing.T, o original) { o.meta(t, kid, "ML_DSA", nil) }, nil, map[string]error{"keys/k": provider.ErrInvalid}},
		{"a policy that there is not", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", map[string]any{"export_policy": "all"})
		}, nil, map[string]error{"keys/k": provider.ErrInvalid}},
		{"no policy", func(t *testing.T, o original) { o.meta(t, kid, "ED25519", map[string]any{"export_policy": ""}) }, nil, map[string]error{"keys/k": provider.ErrInvalid}},
		{"no time", func(t *testing.T, o original) { o.meta(t, kid, "ED25519", map[string]any{"created_at": nil}) }, nil, map[string]error{"keys/k": provider.ErrInvalid}},
		{"a time that lies ahead", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", map[string]any{"created_at": time.Now().Unix() + 3600})
		}, nil, map[string]error{"keys/k": provider.ErrInvalid}},
		{"a meta.json of another key", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", map[string]any{"kid": "l"})
		}, nil, map[string]error{"keys/k": provider.ErrTampered}},
		{"uses that there are not here, or not for this key", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", map[string]any{"uses": []string{"sign", "encaps"}})
			o.pair(t, "k/v1", other)
		}, []string{"k.1"}, map[string]error{"k: use": provider.ErrInvalid}},
		{"no use that is one of the key", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", map[string]any{"uses": []string{"encrypt"}})
			o.pair(t, "k/v1", other)
		}, nil, map[string]error{"keys/k": provider.ErrInvalid}},
		{"a label and a tag that are too long", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", map[string]any{"label": strings.Repeat("x", 300), "tags": map[string]any{"": "x"}})
			o.pair(t, "k/v1", other)
		}, []string{"k.1"}, map[string]error{"k: label": provider.ErrInvalid, "k: tag": provider.ErrInvalid}},
		{"kids and files that are none", func(t *testing.T, o original) {
			o.write(t, ".k/v1/private.pem", private)
			o.write(t, "a b\n/v1/private.pem", private)
			o.write(t, "file", private)
			o.meta(t, kid, "ED25519", nil)
			o.pair(t, "k/v1", other)
			o.pair(t, "k/v0", other)
			o.pair(t, "k/v02", other)
			o.write(t, "k/v3", private)
			o.write(t, "k/notes.txt", private)
		}, []string{"k.1"}, map[string]error{
			"keys/.k": provider.ErrInvalid, `keys/"a b\n"`: provider.ErrInvalid, "keys/file": provider.ErrTampered,
			"keys/k/v0": provider.ErrInvalid, "keys/k/v02": provider.ErrInvalid, "keys/k/v3": provider.ErrTampered, "keys/k/notes.txt": provider.ErrInvalid,
		}},
		{"links, a FIFO, a directory and a large file", func(t *testing.T, o original) {
			o.meta(t, kid, "ED25519", nil)
			for i, replace := range []func(path string) error{
				func(path string) error { return os.Symlink(filepath.Join(o.dir, "keys/k/v1/private.pem"), path) },
				func(path string) error { return syscall.Mkfifo(path, 0o600) },
				func(path string) error { return os.Mkdir(path, 0o700) },
				func(path string) error { return os.WriteFile(path, make([]byte, maxOriginal+1), 0o600) },
			} {
				o.pair(t, fmt.Sprintf("k/v%d", i+2), other)
				path := filepath.Join(o.dir, fmt.Sprintf("keys/k/v%d/private.pem", i+2))
				require.NoError(t, os.Remove(path))
				require.NoError(t, replace(path))
			}
			o.pair(t, "k/v1", other)
			require.NoError(t, os.Symlink("v1", filepath.Join(o.dir, "keys/k/v9")))
			require.NoError(t, os.Symlink("k", filepath.Join(o.dir, "keys/link")))
		}, []string{"k.1", "k.2", "k.3", "k.4", "k.5"}, map[string]error{
			"k.2: private half": provider.ErrTampered, "k.3: private half": provider.ErrTampered, "k.4: private half": provider.ErrTampered,
			"k.5: private half": provider.ErrTampered, "keys/k/v9": provider.ErrTampered, "keys/link": provider.ErrTampered,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newOriginal(t)
			tt.build(t, o)
			source := snapshot(t, o.dir)
			s := opened(t, t.TempDir())
			report, err := s.ImportOriginal(t.Context(), o.dir)
			require.NoError(t, err)
			require.Equal(t, tt.left, reasons(t, report), "%v", report.Left)
			require.Equal(t, tt.taken, names(report.Taken))
			for _, l := range report.Left {
				holdsNone(t, l.String(), secrets)
			}
			require.Equal(t, source, snapshot(t, o.dir), "the source is not changed")
			keys, err := s.ListKeys(t.Context())
			require.NoError(t, err)
			require.Empty(t, keys.Problems)
		})
	}
}

func TestAnOriginalX25519KeyAgrees(t *testing.T) {
	o := newOriginal(t)
	o.meta(t, "k", "X25519", map[string]any{"uses": []string{"encaps", "decaps"}})
	o.pair(t, "k/v1", originalKeys(t)[provider.X25519])
	report, err := opened(t, t.TempDir()).ImportOriginal(t.Context(), o.dir)
	require.NoError(t, err)
	require.Len(t, report.Left, 2, "both uses are reported")
	require.Equal(t, []provider.KeyUse{provider.UseDerive}, report.Taken[0].Uses)
}

func TestAnOriginalKeyOverwritesNothing(t *testing.T) {
	o := newOriginal(t)
	o.meta(t, "k", "ED25519", nil)
	o.pair(t, "k/v1", newSeed())
	o.pair(t, "k/v2", newSeed())
	s := opened(t, t.TempDir())
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	before := snapshot(t, s.path)
	report, err := s.ImportOriginal(t.Context(), o.dir)
	require.NoError(t, err)
	require.Empty(t, report.Taken)
	require.Equal(t, map[string]error{"k.1": provider.ErrExists, "k.2": provider.ErrExists}, reasons(t, report))
	require.Equal(t, before, snapshot(t, s.path))
}

func TestADirectoryThatIsNoOriginalStore(t *testing.T) {
	s := opened(t, t.TempDir())
	_, err := s.ImportOriginal(t.Context(), t.TempDir())
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = s.ImportOriginal(t.Context(), filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, provider.ErrUnavailable)
	dir := t.TempDir()
	require.NoError(t, os.Symlink(t.TempDir(), filepath.Join(dir, "keys")))
	_, err = s.ImportOriginal(t.Context(), dir)
	require.ErrorIs(t, err, provider.ErrTampered)
}
