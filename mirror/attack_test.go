package mirror

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// scene is a mirror whose primary is away, with all its files in the hands of an attacker. The primary has vouched for a.1,
// a.2 and b.1; gone.1 was destroyed. The reader has the pin and a directory out of the attacker's reach.
type scene struct {
	t       testing.TB
	dir     string // the attacker's: keystore/ and mirror/
	own     string // the reader's
	old     string // a copy of dir from before gone.1 was destroyed
	primary *providertest.Fake
	pin     string
	good    map[string]string       // JWK kid → JWK
	evil    map[string]provider.JWK // the attacker's keys by kid
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{t: t, dir: tempDir(t), own: filepath.Join(tempDir(t), "own"), old: filepath.Join(tempDir(t), "old"), primary: providertest.NewFake(t)}
	t.Cleanup(func() { require.NoError(t, s.primary.Close()) })
	s.pin = s.furnish()
	return s
}

// furnish makes the keys, and everything that the attacker has, as a process of the writing host does.
func (s *scene) furnish() (pin string) {
	s.t.Helper()
	ctx := s.t.Context()
	m, err := New(s.primary.Reopen(), storeIn(s.t, s.dir), Config{ManifestDir: filepath.Join(s.dir, "mirror"), StateDir: s.own})
	require.NoError(s.t, err)
	defer m.Close()
	for _, kid := range []string{"a", "b", "gone"} {
		ref, err := m.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
		require.NoError(s.t, err)
		require.True(s.t, ref.Mirroring.Mirrored, ref.Mirroring.Reason)
	}
	_, err = m.RotateKey(ctx, "a", provider.Rotation{})
	require.NoError(s.t, err)
	require.NoError(s.t, os.CopyFS(s.old, os.DirFS(s.dir)))
	d, err := m.DestroyKey(ctx, "gone", 1)
	require.NoError(s.t, err)
	require.True(s.t, d.Mirroring.Mirrored, d.Mirroring.Reason)
	set, err := m.JWKS(ctx, "")
	require.NoError(s.t, err)
	s.good, s.evil = map[string]string{}, map[string]provider.JWK{}
	for _, k := range set.Keys() {
		s.good[k.JWKKID()] = string(k.JSON())
	}
	require.Len(s.t, s.good, 3)
	pin, err = m.ManifestPin(ctx)
	require.NoError(s.t, err)
	return pin
}

// storeIn opens the keystore of a scene's directory.
func storeIn(t testing.TB, dir string) *softfile.Store {
	t.Helper()
	s, err := softfile.Open(t.Context(), softfile.Config{Dir: filepath.Join(dir, "keystore")})
	require.NoError(t, err)
	return s
}

// read opens a reader while the primary is away.
func (s *scene) read(cfg Config) *Mirror {
	s.t.Helper()
	cfg.ManifestDir, cfg.Pin, cfg.StateDir = filepath.Join(s.dir, "mirror"), s.pin, s.own
	p := s.primary.Reopen()
	s.primary.Unplug()
	m, err := New(p, storeIn(s.t, s.dir), cfg)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, m.Close()) })
	return m
}

// innocent requires that nothing which m serves was not vouched for, and returns what JWKS answers.
func (s *scene) innocent(m *Mirror) (kids []string, err error) {
	s.t.Helper()
	ctx := s.t.Context()
	set, err := m.JWKS(ctx, "")
	for _, k := range set.Keys() {
		require.Equal(s.t, s.good[k.JWKKID()], string(k.JSON()), k.JWKKID())
		kids = append(kids, k.JWKKID())
	}
	known := func(ref provider.KeyRef) {
		s.t.Helper()
		require.Contains(s.t, s.good, ref.JWKKID())
		require.Contains(s.t, s.good[ref.JWKKID()], `"alg":"`+ref.Alg.JWA()+`"`)
		require.False(s.t, ref.Provenance.Unauthenticated)
	}
	for _, kid := range []string{"a", "b", "gone", "evil", ManifestKID} {
		for version := range 4 {
			if k, err := m.PublicJWK(ctx, kid, version); err == nil {
				require.Equal(s.t, s.good[k.JWKKID()], string(k.JSON()))
				known(k.Ref())
			}
			if ref, err := m.GetKey(ctx, kid, version); err == nil {
				known(ref)
			}
		}
		list, _ := m.ListVersions(ctx, kid)
		for _, ref := range list.Keys {
			known(ref)
		}
	}
	list, _ := m.ListKeys(ctx)
	for _, ref := range list.Keys {
		known(ref)
	}
	return kids, err
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *scene) readFile(path string) string {
	s.t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(s.t, err)
	return string(data)
}

func (s *scene) put(name, content string) {
	s.t.Helper()
	require.NoError(s.t, os.MkdirAll(filepath.Dir(s.path(name)), 0o700))
	_ = os.Remove(s.path(name))
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(content), 0o600))
}

const (
	manifestPath = "mirror/" + manifestName
	statePath    = "mirror/" + stateName
)

// other returns a scene of another token, whose keys have the same names.
func (s *scene) other() *scene { return newScene(s.t) }

// evilKey returns the attacker's key for a kid, which is always the same.
func (s *scene) evilKey(kid string) provider.JWK {
	s.t.Helper()
	if _, made := s.evil[kid]; !made {
		f := providertest.NewFake(nil)
		_, err := f.CreateKey(s.t.Context(), provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
		require.NoError(s.t, err)
		s.evil[kid], err = f.PublicJWK(s.t.Context(), kid, 1)
		require.NoError(s.t, err)
	}
	return s.evil[kid]
}

// evilRecord returns a whole and valid record of the attacker's key.
func (s *scene) evilRecord(kid string) string {
	s.t.Helper()
	dir := tempDir(s.t)
	p := storeIn(s.t, dir)
	defer p.Close()
	k := s.evilKey(kid)
	material, err := provider.PublicMaterial(k.PublicKey())
	require.NoError(s.t, err)
	_, err = p.PutVersion(s.t.Context(), k.Ref(), material)
	require.NoError(s.t, err)
	return s.readFile(filepath.Join(dir, "keystore/keys", kid, "1.json"))
}

// reclaim returns a manifest whose claims were edited, under the old signature.
func (s *scene) reclaim(edit func(claims map[string]any)) string {
	s.t.Helper()
	parts := strings.Split(s.readFile(s.path(manifestPath)), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(s.t, err)
	var claims map[string]any
	require.NoError(s.t, json.Unmarshal(payload, &claims))
	edit(claims)
	payload, err = json.Marshal(claims)
	require.NoError(s.t, err)
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	return strings.Join(parts, ".")
}

// copyFrom puts the files of another directory in place of the attacker's, those of keystore, of mirror, or both.
func (s *scene) copyFrom(dir string, parts ...string) {
	s.t.Helper()
	for _, part := range parts {
		require.NoError(s.t, os.RemoveAll(s.path(part)))
		require.NoError(s.t, os.CopyFS(s.path(part), os.DirFS(filepath.Join(dir, part))))
		require.NoError(s.t, filepath.WalkDir(s.path(part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			return os.Chmod(path, 0o700)
		}))
	}
}

func TestAttacks(t *testing.T) {
	all := []string{"a.1", "a.2", "b.1"}
	tests := []struct {
		name   string
		attack func(s *scene)
		want   error    // of JWKS
		kids   []string // in it, if it is served
	}{
		{"nothing is touched", func(*scene) {}, nil, all},
		{"a record is swapped", func(s *scene) { s.put("keystore/keys/b/1.json", s.evilRecord("b")) }, provider.ErrTampered, nil},
		{"a record is edited: another label", func(s *scene) {
			record := s.readFile(s.path("keystore/keys/b/1.json"))
			s.put("keystore/keys/b/1.json", strings.Replace(record, `"export_policy"`, `"label":"mine","export_policy"`, 1))
		}, provider.ErrTampered, nil},
		{"a record is edited: it signs from another time on", func(s *scene) {
			record := s.readFile(s.path("keystore/keys/a/2.json"))
			s.put("keystore/keys/a/2.json", strings.Replace(record, `"active_from": "20`, `"active_from": "29`, 1))
		}, provider.ErrTampered, nil},
		{"a record is added", func(s *scene) { s.put("keystore/keys/evil/1.json", s.evilRecord("evil")) }, nil, all},
		{"a version is added to a key", func(s *scene) {
			s.put("keystore/keys/b/2.json", strings.Replace(s.evilRecord("b"), `"version": 1`, `"version": 2`, 1))
		}, nil, all},
		{"a record is removed", func(s *scene) { require.NoError(s.t, os.Remove(s.path("keystore/keys/b/1.json"))) }, provider.ErrTampered, nil},
		{"a record is truncated", func(s *scene) { s.put("keystore/keys/b/1.json", "{") }, provider.ErrTampered, nil},
		{"all records are removed", func(s *scene) { require.NoError(s.t, os.RemoveAll(s.path("keystore/keys"))) }, provider.ErrTampered, nil},
		{"the destroyed key's record is put back", func(s *scene) {
			s.put("keystore/keys/gone/1.json", s.readFile(filepath.Join(s.old, "keystore/keys/gone/1.json")))
			_ = os.Remove(s.path("keystore/keys/gone/destroyed.json"))
		}, nil, all},
		{"the manifest is removed", func(s *scene) { require.NoError(s.t, os.Remove(s.path(manifestPath))) }, provider.ErrTampered, nil},
		{"the manifest is empty", func(s *scene) { s.put(manifestPath, "") }, provider.ErrTampered, nil},
		{"the manifest is truncated", func(s *scene) {
			text := s.readFile(s.path(manifestPath))
			s.put(manifestPath, text[:len(text)-10])
		}, provider.ErrTampered, nil},
		{"the manifest is a symbolic link to an old one", func(s *scene) {
			require.NoError(s.t, os.Remove(s.path(manifestPath)))
			require.NoError(s.t, os.Symlink(filepath.Join(s.old, manifestPath), s.path(manifestPath)))
		}, provider.ErrTampered, nil},
		{"the manifest is edited: a tombstone less", func(s *scene) {
			s.put(manifestPath, s.reclaim(func(c map[string]any) { delete(c["versions"].(map[string]any), "gone") }))
		}, provider.ErrTampered, nil},
		{"the manifest is edited: a longer expiry", func(s *scene) {
			s.put(manifestPath, s.reclaim(func(c map[string]any) { c["exp"] = c["exp"].(float64) * 2 }))
		}, provider.ErrTampered, nil},
		{"the manifest is not signed at all", func(s *scene) {
			parts := strings.Split(s.readFile(s.path(manifestPath)), ".")
			s.put(manifestPath, base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"jwk-set+jwt","alg":"none"}`))+"."+parts[1]+".")
		}, provider.ErrTampered, nil},
		{"the manifest is from another token", func(s *scene) { s.copyFrom(s.other().dir, "mirror") }, provider.ErrTampered, nil},
		{"the whole mirror is of another token", func(s *scene) { s.copyFrom(s.other().dir, "mirror", "keystore") }, provider.ErrTampered, nil},
		{"the manifest is old", func(s *scene) { s.copyFrom(s.old, "mirror") }, provider.ErrTampered, nil},
		{"manifest and records are old", func(s *scene) { s.copyFrom(s.old, "mirror", "keystore") }, provider.ErrTampered, nil},
		{"the state dismisses every destroy", func(s *scene) {
			generation := s.readManifest().generation
			s.put(statePath, `{"format":2,"generation":`+itoa(generation)+`,"keys":{"gone":{"1":{}}}}`+"\n")
			s.put("keystore/keys/gone/1.json", s.readFile(filepath.Join(s.old, "keystore/keys/gone/1.json")))
		}, nil, all},
		{"the state vouches for a key", func(s *scene) {
			s.put(statePath, s.vouching("evil"))
			s.put("keystore/keys/evil/1.json", s.evilRecord("evil"))
		}, nil, all},
		{"the state vouches for another key of the name", func(s *scene) {
			s.put(statePath, s.vouching("b"))
			s.put("keystore/keys/b/1.json", s.evilRecord("b"))
		}, provider.ErrTampered, nil},
		{"the state vouches for a key that is nowhere", func(s *scene) { s.put(statePath, s.vouching("evil")) }, nil, all},
		{"the state is garbage", func(s *scene) { s.put(statePath, "garbage") }, provider.ErrTampered, nil},
		{"the state takes a key out of service, which is all that it can do", func(s *scene) {
			s.put(statePath, `{"format":2,"generation":`+itoa(s.readManifest().generation)+`,"keys":{"b":{"1":{"destroyed":"2026-01-02T03:04:05Z"}}}}`+"\n")
		}, nil, []string{"a.1", "a.2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			tt.attack(s)
			kids, err := s.innocent(s.read(Config{}))
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, tt.kids, kids)
		})
	}
}

func (s *scene) readManifest() *manifest {
	s.t.Helper()
	m, err := readManifest([]byte(s.readFile(s.path(manifestPath))), "")
	require.NoError(s.t, err)
	return m
}

// vouching returns a state that names the attacker's key as whole as the mirror would, at the manifest that is there.
func (s *scene) vouching(kid string) string {
	s.t.Helper()
	l := newLedger()
	l.vouch(testimony{ref: s.evilKey(kid).Ref(), when: time.Now(), copy: carried})
	f := l.since(nil)
	f.Generation = s.readManifest().generation
	data, err := f.encode()
	require.NoError(s.t, err)
	return string(data)
}

func itoa(n int64) string { return string(must(json.Marshal(n))) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// With a pin nothing is unauthenticated, and so nothing is refused for that.
func TestAPinIsWhatAuthenticates(t *testing.T) {
	s := newScene(t)
	kids, err := s.innocent(s.read(Config{RefuseUnauthenticated: true}))
	require.NoError(t, err)
	require.Len(t, kids, 3)
}

// Without a pin the same files are served, and say that nothing vouches for them; or they are refused.
func TestWithoutAPin(t *testing.T) {
	s := newScene(t)
	s.put("keystore/keys/evil/1.json", s.evilRecord("evil"))
	s.pin = ""
	s.primary.Unplug()
	set, err := s.read(Config{}).JWKS(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 4, set.Len(), "anyone's key is served")
	require.True(t, set.Provenance.Unauthenticated)
	_, err = s.read(Config{RefuseUnauthenticated: true}).JWKS(t.Context(), "")
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.NoError(t, os.Remove(s.path("keystore/keys/b/1.json")))
	set, err = s.read(Config{}).JWKS(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 3, set.Len(), "and what is missing can't be told from what never was")
}

// A manifest is served from as long as it is neither soft nor hard stale, by the reader's limit as by its own expiry.
func TestManifestAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		m := s.read(Config{})
		short := s.read(Config{StaleAfter: time.Hour, RefuseAfter: 36 * time.Hour})
		for _, step := range []struct {
			wait        time.Duration
			stale       bool
			want, other error
		}{
			{0, false, nil, nil},
			{25 * time.Hour, true, nil, nil},
			{24 * time.Hour, true, nil, provider.ErrStale},
			{5*24*time.Hour - 2*time.Hour, true, nil, provider.ErrStale},
			{time.Hour, true, provider.ErrStale, provider.ErrStale},
		} {
			time.Sleep(step.wait)
			set, err := m.JWKS(t.Context(), "")
			require.ErrorIs(t, err, step.want)
			if err == nil {
				require.Equal(t, step.stale, set.Provenance.Stale)
			}
			_, err = short.GetKey(t.Context(), "a", 1)
			require.ErrorIs(t, err, step.other)
		}
	})
}

// The record changes under a reader that serves it all the while: between its check and its use, as it were.
func TestRecordsAreSwappedUnderAReader(t *testing.T) {
	s := newScene(t)
	m := s.read(Config{})
	good, evil := s.readFile(s.path("keystore/keys/b/1.json")), s.evilRecord("b")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		temp := s.path("keystore/keys/b/swap")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if os.WriteFile(temp, []byte([]string{evil, good}[i%2]), 0o600) != nil || os.Rename(temp, s.path("keystore/keys/b/1.json")) != nil {
				t.Error("not swapped")
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for range 50 {
		_, _ = s.innocent(m)
		fresh := s.read(Config{})
		_, _ = s.innocent(fresh)
		require.NoError(t, fresh.Close())
	}
	close(stop)
	<-stopped
}
