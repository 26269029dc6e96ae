//go:build unix

package softfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// hostile is a store in which the file of "victim" version 2 is bad, and that of version 1 and another key are good.
type hostile struct {
	dir  string
	path string // of the bad file
}

func newHostile(t *testing.T) hostile {
	t.Helper()
	dir := t.TempDir()
	s := opened(t, dir)
	for _, kid := range []string{"good", "victim"} {
		_, err := s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256})
		require.NoError(t, err)
		_, err = s.RotateKey(t.Context(), kid, provider.Rotation{})
		require.NoError(t, err)
	}
	return hostile{dir, filepath.Join(dir, "keys/victim/2.json")}
}

func (h hostile) write(t *testing.T, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(h.path, []byte(content), 0o600))
}

// edit puts new in the place of old in the bad file.
func (h hostile) edit(t *testing.T, old, new string) {
	t.Helper()
	content := read(t, h.path)
	require.Contains(t, content, old)
	h.write(t, strings.Replace(content, old, new, 1))
}

func (h hostile) replace(t *testing.T, make func() error) {
	t.Helper()
	require.NoError(t, os.Remove(h.path))
	require.NoError(t, make())
}

// The original's defects F03 and F04: a damaged file made other keys unreadable, and hid a good version of its own.
func TestABadRecordIsReportedAndHidesNothing(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, h hostile)
		want string // in the report
	}{
		{"empty", func(t *testing.T, h hostile) { h.write(t, "") }, "unexpected end of JSON input"},
		{"truncated", func(t *testing.T, h hostile) { h.write(t, read(t, h.path)[:100]) }, "unexpected end of JSON input"},
		{"zeros", func(t *testing.T, h hostile) { h.write(t, strings.Repeat("\x00", 500)) }, "invalid character"},
		{"not UTF-8", func(t *testing.T, h hostile) { h.edit(t, `"sign"`, "\"sign\xff\"") }, "not UTF-8"},
		{"something after the object", func(t *testing.T, h hostile) { h.write(t, read(t, h.path)+"{}") }, "invalid character '{' after top-level value"},
		{"an array", func(t *testing.T, h hostile) { h.write(t, "[]") }, "JSON array in the wrong place"},
		{"null", func(t *testing.T, h hostile) { h.write(t, "null") }, "null"},
		{"nested without end", func(t *testing.T, h hostile) { h.write(t, strings.Repeat("[", 100_000)) }, "exceeded max depth"},
		{"a newer format", func(t *testing.T, h hostile) { h.edit(t, `"format": 1`, `"format": 2, "news": {}`) }, "format 2: want 1; a newer version"},
		{"a newer format that begins with its news", func(t *testing.T, h hostile) { h.edit(t, `"format": 1`, `"news": {}, "format": 2`) }, "format 2: want 1; a newer version"},
		{"no format", func(t *testing.T, h hostile) { h.edit(t, `"format": 1,`, "") }, "format 0: want 1"},
		{"an unknown member", func(t *testing.T, h hostile) { h.edit(t, `"bits"`, `"colour": "red", "bits"`) }, `unknown member "colour"`},
		{"a member in capitals", func(t *testing.T, h hostile) { h.edit(t, `"bits"`, `"Bits"`) }, `unknown member "Bits"`},
		{"a member twice", func(t *testing.T, h hostile) { h.edit(t, `"bits"`, `"kid": "victim", "bits"`) }, `member "kid" twice`},
		{"a member twice, written differently", func(t *testing.T, h hostile) { h.edit(t, `"bits"`, `"k\u0069d": "victim", "bits"`) }, `member "kid" twice`},
		{"a tag twice", func(t *testing.T, h hostile) { h.edit(t, `"created"`, `"tags": {"a": "1", "a": "2"}, "created"`) }, `member "a" twice`},
		{"a null", func(t *testing.T, h hostile) { h.edit(t, `"created"`, `"label": null, "created"`) }, `member "label": null`},
		{"a wrong type", func(t *testing.T, h hostile) { h.edit(t, `"bits": 256`, `"bits": "256"`) }, `member "bits": JSON string is of the wrong type`},
		{"a fraction", func(t *testing.T, h hostile) { h.edit(t, `"version": 2`, `"version": 2.0`) }, `JSON number 2.0 is of the wrong type`},
		{"another kid", func(t *testing.T, h hostile) { h.edit(t, `"victim"`, `"good"`) }, `record of "good" version 2: want "victim" version 2`},
		{"another version", func(t *testing.T, h hostile) { h.edit(t, `"version": 2`, `"version": 1`) }, `record of "victim" version 1: want "victim" version 2`},
		{"an unknown algorithm", func(t *testing.T, h hostile) { h.edit(t, "ECDSA_P256_SHA256", "ROT13") }, `unknown algorithm "ROT13"`},
		{"another algorithm", func(t *testing.T, h hostile) { h.edit(t, "ECDSA_P256_SHA256", "ED25519") }, "want a key of type OKP Ed25519"},
		{"another size", func(t *testing.T, h hostile) { h.edit(t, `"bits": 256`, `"bits": 384`) }, "key of 384 bits"},
		{"no uses", func(t *testing.T, h hostile) {
			h.edit(t, `"uses": [
    "sign",
    "verify"
  ]`, `"uses": []`)
		}, "without its size, uses or export policy"},
		{"a use that is none of the algorithm's", func(t *testing.T, h hostile) { h.edit(t, `"verify"`, `"wrap"`) }, `use "wrap"`},
		{"an unknown policy", func(t *testing.T, h hostile) { h.edit(t, `"none"`, `"all"`) }, `unknown export policy "all"`},
		{"a label without end", func(t *testing.T, h hostile) {
			h.edit(t, `"created"`, `"label": "`+strings.Repeat("x", 300)+`", "created"`)
		}, "label of 300 bytes"},
		{"no time of creation", func(t *testing.T, h hostile) { h.write(t, dropMember(read(t, h.path), "created")) }, "without its time of creation"},
		{"a time that is none", func(t *testing.T, h hostile) { h.edit(t, `"created": "2`, `"created": "x`) }, "parsing time"},
		{"a negative window", func(t *testing.T, h hostile) { h.edit(t, `"retire_after": 86400`, `"retire_after": -1`) }, "want a number of seconds"},
		{"another public key", func(t *testing.T, h hostile) {
			h.write(t, swapMember(t, read(t, h.path), read(t, h.dir, "keys/good/2.json"), "public"))
		}, "fingerprint: not that of the public half"},
		{"a private member in the public key", func(t *testing.T, h hostile) { h.edit(t, `"kty"`, `"d": "AAAA", "kty"`) }, `unknown member "d"`},
		{"a private half in plain text", func(t *testing.T, h hostile) { h.edit(t, `"private": "`, `"private": "{}`) }, "JWE part 1"},
		{"no public half", func(t *testing.T, h hostile) {
			content := read(t, h.path)
			h.write(t, strings.Replace(content, "  \"public\": "+member(t, content, "public")+",\n", "", 1))
		}, "without its public half"},
		{"a private half under a passphrase of its own", func(t *testing.T, h hostile) {
			salted := jweHeader{Alg: algPassphrase, KID: "id", P2S: b64.EncodeToString(random(saltSize)), P2C: minIterations}
			h.edit(t, member(t, read(t, h.path), "private"), `"`+sealed(t, salted)+`"`)
		}, "want A256KW"},
		{"a symmetric key without its secret", func(t *testing.T, h hostile) {
			h.write(t, strings.ReplaceAll(`{"format":1,"kid":"victim","version":2,"alg":"AES256_GCM","bits":256,"uses":["encrypt"],
				"export_policy":"none","created":"2026-01-01T00:00:00Z","active_from":"2026-01-01T00:00:00Z","retire_after":0}`, "\n", ""))
		}, "symmetric key: want a private half"},
		{"a symbolic link to a good record", func(t *testing.T, h hostile) {
			h.replace(t, func() error { return os.Symlink("1.json", h.path) })
		}, "want a regular file, found a symbolic link"},
		{"a symbolic link out of the store", func(t *testing.T, h hostile) {
			h.replace(t, func() error { return os.Symlink("/etc/passwd", h.path) })
		}, "want a regular file, found a symbolic link"},
		{"a FIFO", func(t *testing.T, h hostile) {
			h.replace(t, func() error { return syscall.Mkfifo(h.path, 0o600) })
		}, "want a regular file, found a FIFO"},
		{"a directory", func(t *testing.T, h hostile) {
			h.replace(t, func() error { return os.Mkdir(h.path, 0o700) })
		}, "want a regular file, found a directory"},
		{"10 GB", func(t *testing.T, h hostile) { require.NoError(t, os.Truncate(h.path, 10<<30)) }, "10737418240 bytes, want at most 131072"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t)
			tt.do(t, h)
			h.check(t, tt.want)
		})
	}
	t.Run("a device", func(t *testing.T) {
		h := newHostile(t)
		require.NoError(t, os.Remove(h.path))
		if err := syscall.Mknod(h.path, syscall.S_IFCHR|0o600, 1<<8|5); err != nil { // /dev/zero
			t.Skip("making a device needs a privilege: ", err)
		}
		h.check(t, "want a regular file, found a device")
	})
}

// check opens the store and finds the bad file reported, and all else as it was.
func (h hostile) check(t *testing.T, want string) {
	t.Helper()
	before := snapshot(t, h.dir)
	var log bytes.Buffer
	s := openedWith(t, Config{Dir: h.dir, Passphrase: passphrase("open sesame"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	list, err := s.ListKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Problems, 1)
	require.ErrorIs(t, list.Problems[0], provider.ErrTampered)
	require.NotErrorIs(t, list.Problems[0], provider.ErrInvalid, "the caller did nothing wrong")
	require.ErrorContains(t, list.Problems[0], h.path+": ")
	require.ErrorContains(t, list.Problems[0], want)
	require.Equal(t, []string{"good.2", "victim.1"}, names(list.Keys))
	all, err := s.ListVersions(t.Context(), "victim")
	require.NoError(t, err)
	require.Equal(t, []string{"victim.1"}, names(all.Keys))
	require.Equal(t, list.Problems, all.Problems)

	for name, err := range map[string]error{
		"GetKey":     second(s.GetKey(t.Context(), "victim", 2)),
		"PublicJWK":  second(s.PublicJWK(t.Context(), "victim", 2)),
		"Signer":     second(s.Signer(t.Context(), "victim", 2)),
		"ExportKey":  second(s.ExportKey(t.Context(), "victim", 2)),
		"DestroyKey": second(s.DestroyKey(t.Context(), "victim", 2)),
		"destroy all": second(s.DestroyKey(t.Context(), "victim",
			provider.AllVersions)),
	} {
		require.ErrorIs(t, err, provider.ErrTampered, name)
		require.ErrorContains(t, err, h.path, name)
	}
	set, err := s.JWKS(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"good.1", "good.2", "victim.1"}, jwkNames(set))
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), h.path)
	delete(before, "lock")
	after := snapshot(t, h.dir)
	delete(after, "lock")
	require.Equal(t, before, after, "nothing was changed")

	_, err = s.CreateKey(t.Context(), provider.KeySpec{KID: "victim", Alg: provider.Ed25519})
	require.ErrorIs(t, err, provider.ErrExists)
	ref, err := s.RotateKey(t.Context(), "victim", provider.Rotation{})
	require.NoError(t, err)
	require.Equal(t, 3, ref.Version, "the number of the damaged record is taken")
	d, err := s.DestroyKey(t.Context(), "victim", 1)
	require.NoError(t, err, "a good version is destroyed beside a bad one")
	require.Equal(t, []int{1}, d.Versions)
	after = snapshot(t, h.dir)
	require.Equal(t, before["keys/victim/2.json"], after["keys/victim/2.json"])
}

// The tombstones stay in their order in whatever order versions are destroyed; and of the records that a writer which died had
// left, a destroy names those that were asked for.
func TestDestroysInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	for range 4 {
		require.NoError(t, second(s.RotateKey(t.Context(), "k", provider.Rotation{})))
	}
	left := map[string]string{}
	for _, n := range []int{4, 1} {
		name := fmt.Sprintf("keys/k/%d.json", n)
		left[name] = read(t, dir, name)
		d, err := s.DestroyKey(t.Context(), "k", n)
		require.NoError(t, err)
		require.Equal(t, []int{n}, d.Versions)
	}
	leave := func() {
		for name, content := range left {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		}
	}
	s = opened(t, dir)
	list, err := s.ListVersions(t.Context(), "k")
	require.NoError(t, err)
	require.Empty(t, list.Problems)
	require.Equal(t, []string{"k.2", "k.3", "k.5"}, names(list.Keys))

	leave()
	d, err := s.DestroyKey(t.Context(), "k", 2)
	require.NoError(t, err)
	require.Equal(t, []int{2}, d.Versions, "1 and 4 were swept and not asked for")
	leave()
	d, err = s.DestroyKey(t.Context(), "k", 4)
	require.NoError(t, err)
	require.Equal(t, []int{4}, d.Versions)
	leave()
	d, err = s.DestroyKey(t.Context(), "k", provider.AllVersions)
	require.NoError(t, err)
	require.Equal(t, []int{1, 3, 4, 5}, d.Versions)
	require.ErrorIs(t, second(s.DestroyKey(t.Context(), "k", provider.AllVersions)), provider.ErrNotFound)
}

// snapshot returns what stands under dir: for each file its mode and content, or where it points, or its size.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular() && info.Size() < 1<<20:
			text += read(t, path)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			require.NoError(t, err)
			text += to
		case info.Mode().IsRegular():
			text += fmt.Sprint(info.Size())
		}
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		files[name] = text
		return nil
	}))
	return files
}

func names(refs []provider.KeyRef) []string {
	var list []string
	for _, ref := range refs {
		list = append(list, ref.JWKKID())
	}
	return list
}

func jwkNames(set provider.JWKSet) []string {
	var list []string
	for _, k := range set.Keys() {
		list = append(list, k.JWKKID())
	}
	return list
}

func second[T any](_ T, err error) error { return err }

// dropMember takes the line of a top-level member out of a record.
func dropMember(content, name string) string {
	lines := strings.Split(content, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, `  "`+name+`"`) }), "\n")
}

// swapMember puts the member of another record in the place of that of content.
func swapMember(t *testing.T, content, other, name string) string {
	t.Helper()
	mine, theirs := member(t, content, name), member(t, other, name)
	require.NotEqual(t, mine, theirs)
	return strings.Replace(content, mine, theirs, 1)
}

// member returns the text of a top-level member of a record.
func member(t *testing.T, content, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(content, "\n  \""+name+`": `)
	require.True(t, found)
	if end := strings.Index(rest, "\n  }"); strings.HasPrefix(rest, "{") {
		return rest[:end+4]
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSuffix(line, ",")
}

// What needs the passphrase to be seen is refused when the private half is wanted.
func TestARecordThatWasRearrangedDoesNotOpen(t *testing.T) {
	swapped := func(names ...string) func(t *testing.T, h hostile) {
		return func(t *testing.T, h hostile) {
			content := read(t, h.path)
			for _, name := range names {
				content = swapMember(t, content, read(t, h.dir, "keys/good/2.json"), name)
			}
			h.write(t, content)
		}
	}
	tests := []struct {
		name string
		do   func(t *testing.T, h hostile)
	}{
		{"the private half of another key", swapped("private")},
		{"the private and the public half of another key", swapped("private", "public", "fingerprint")},
		{"the public half of another key", swapped("public", "fingerprint")},
		{"the private half of another version", func(t *testing.T, h hostile) {
			h.write(t, swapMember(t, read(t, h.path), read(t, h.dir, "keys/victim/1.json"), "private"))
		}},
		{"a whole other version under its number", func(t *testing.T, h hostile) {
			h.write(t, strings.Replace(read(t, h.dir, "keys/victim/1.json"), `"version": 1`, `"version": 2`, 1))
		}},
		{"a policy that allows more", func(t *testing.T, h hostile) {
			h.edit(t, `"export_policy": "none"`, `"export_policy": "secret_when_allowed"`)
		}},
		{"a ciphertext with one bit changed", func(t *testing.T, h hostile) {
			private := member(t, read(t, h.path), "private")
			flipped := []byte(private)
			if i := len(flipped) - 60; flipped[i] == 'A' {
				flipped[i] = 'B'
			} else {
				flipped[i] = 'A'
			}
			h.edit(t, private, string(flipped))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t)
			tt.do(t, h)
			s := opened(t, h.dir)
			_, err := s.Signer(t.Context(), "victim", 2)
			require.ErrorIs(t, err, provider.ErrTampered)
			require.ErrorContains(t, err, `"victim.2"`)
			if _, err = s.ExportKey(t.Context(), "victim", 2); tt.name == "a policy that allows more" {
				require.ErrorIs(t, err, provider.ErrTampered)
			}
			_, err = s.Signer(t.Context(), "victim", 1)
			require.NoError(t, err)
		})
	}
}

func TestUsesThatAllowMoreDoNotOpen(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	_, err := s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.AES256GCM, Uses: []provider.KeyUse{provider.UseEncrypt}})
	require.NoError(t, err)
	h := hostile{dir, filepath.Join(dir, "keys/k/1.json")}
	h.edit(t, `"encrypt"`, `"encrypt", "decrypt"`)
	_, err = opened(t, dir).AEAD(t.Context(), "k", 0)
	require.ErrorIs(t, err, provider.ErrTampered)
}

func TestBadTombstonesStopWritesAndNothingElse(t *testing.T) {
	const head = `{"format":1,"kid":"victim","versions":[`
	stone := `{"version":1,"destroyed":"2026-01-01T00:00:00Z"}`
	tests := []struct{ name, content, want string }{
		{"empty", "", "unexpected end"},
		{"another format", `{"format":7}`, "format 7: want 1"},
		{"another kid", `{"format":1,"kid":"good","versions":[]}`, `tombstones of "good": want "victim"`},
		{"an unknown member", head + `{"version":1,"destroyed":"2026-01-01T00:00:00Z","why":""}]}`, `unknown member "why"`},
		{"a version twice", head + stone + "," + stone + "]}", "out of order"},
		{"no versions", `{"format":1,"kid":"victim"}`, "without the member versions"},
		{"a version after the last", head + `{"version":1000000000,"destroyed":"2026-01-01T00:00:00Z"}]}`, "out of order, or without version"},
		{"no version", head + `{"destroyed":"2026-01-01T00:00:00Z"}]}`, "out of order"},
		{"no time", head + `{"version":1}]}`, "without version, time"},
		{"half a schedule", head + `{"version":1,"destroyed":"2026-01-01T00:00:00Z","retire_after":5}]}`, "schedule"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t)
			h.path = filepath.Join(h.dir, "keys/victim/destroyed.json")
			h.write(t, tt.content)
			s := opened(t, h.dir)
			list, err := s.ListKeys(t.Context())
			require.NoError(t, err)
			require.Equal(t, []string{"good.2", "victim.2"}, names(list.Keys))
			require.Len(t, list.Problems, 1)
			require.ErrorIs(t, list.Problems[0], provider.ErrTampered)
			require.ErrorContains(t, list.Problems[0], h.path)
			require.ErrorContains(t, list.Problems[0], tt.want)
			for name, err := range map[string]error{
				"RotateKey":  second(s.RotateKey(t.Context(), "victim", provider.Rotation{})),
				"DestroyKey": second(s.DestroyKey(t.Context(), "victim", 1)),
			} {
				require.ErrorIs(t, err, provider.ErrTampered, name)
			}
			require.Equal(t, tt.content, read(t, h.path))
			_, err = s.RotateKey(t.Context(), "good", provider.Rotation{})
			require.NoError(t, err)
		})
	}
}

func TestWhatElseLiesInTheStore(t *testing.T) {
	h := newHostile(t)
	at := func(name string) string { return filepath.Join(h.dir, "keys", name) }
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(at("victim/notes.txt"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("victim/01.json"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("victim/1000000000.json"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("victim/.hidden"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("not a kid"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("z\n\x1b[2Jevil"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("a-file"), nil, 0o600))
	require.NoError(t, os.Symlink(outside, at("a-link")))
	require.NoError(t, os.Symlink("good", at("good-too")))
	require.NoError(t, os.Mkdir(at("empty"), 0o700))
	s := opened(t, h.dir)
	list, err := s.ListKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"good.2", "victim.2"}, names(list.Keys))
	var paths []string
	for _, name := range []string{"not a kid", `z\n\x1b[2Jevil`, "a-file", "a-link", "good-too", "victim/01.json", "victim/1000000000.json", "victim/notes.txt"} {
		paths = append(paths, at(name))
	}
	require.Len(t, list.Problems, len(paths))
	for i, p := range list.Problems {
		require.ErrorIs(t, p, provider.ErrTampered)
		require.ErrorContains(t, p, paths[i])
		require.NotContains(t, p.Error(), "\n")
		require.NotContains(t, p.Error(), "\x1b")
	}
	for _, kid := range []string{"a-file", "a-link", "good-too"} {
		for name, err := range map[string]error{
			"GetKey":    second(s.GetKey(t.Context(), kid, 0)),
			"CreateKey": second(s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.Ed25519})),
			"ImportKey": second(s.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.Ed25519}, ed25519Public(t))),
		} {
			require.ErrorIs(t, err, provider.ErrTampered, name+" "+kid)
		}
	}
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = s.GetKey(t.Context(), "empty", 0)
	require.ErrorIs(t, err, provider.ErrNotFound)
	ref, err := s.CreateKey(t.Context(), provider.KeySpec{KID: "empty", Alg: provider.Ed25519})
	require.NoError(t, err)
	require.Equal(t, 1, ref.Version)
	_, err = s.RotateKey(t.Context(), "victim", provider.Rotation{})
	require.NoError(t, err, "what is no part of the store is in no one's way")
}

// What is written can be read again, whatever came before it.
func TestTombstonesAreNotTooManyToBeRead(t *testing.T) {
	stones := func(n int) []tombstone {
		all := make([]tombstone, n)
		for i := range all {
			all[i] = newTombstone(&record{Version: 100_000_000 + i}, time.Now())
		}
		return all
	}
	size := func(n int) int {
		data, err := encodeTombstones("k", stones(n))
		require.NoError(t, err)
		return len(data)
	}
	most := 1 + (maxTombstone-size(1))/(size(2)-size(1))
	require.LessOrEqual(t, size(most), maxTombstone)
	data, err := encodeTombstones("k", stones(most))
	require.NoError(t, err)
	again, err := parseTombstones("k", data)
	require.NoError(t, err)
	require.Len(t, again, most)
	require.ErrorIs(t, second(encodeTombstones("k", stones(most+1))), provider.ErrUnsupported)
}

func TestTheLastNumber(t *testing.T) {
	h := newHostile(t)
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, "keys/victim/999999999.json"), nil, 0o600))
	_, err := opened(t, h.dir).RotateKey(t.Context(), "victim", provider.Rotation{})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "999999999")
}

func TestTheDirectoryOfTheKeysIsALink(t *testing.T) {
	h := newHostile(t)
	require.NoError(t, os.Rename(filepath.Join(h.dir, "keys"), filepath.Join(h.dir, "other")))
	require.NoError(t, os.Symlink("other", filepath.Join(h.dir, "keys")))
	_, err := Open(t.Context(), Config{Dir: h.dir})
	require.ErrorIs(t, err, provider.ErrTampered)
	require.ErrorContains(t, err, "want a directory, found a symbolic link")
}

func TestARecordThatIsMendedIsServedAgain(t *testing.T) {
	h := newHostile(t)
	good := read(t, h.path)
	h.write(t, "")
	s := opened(t, h.dir)
	_, err := s.GetKey(t.Context(), "victim", 2)
	require.ErrorIs(t, err, provider.ErrTampered)
	h.write(t, good)
	_, err = s.GetKey(t.Context(), "victim", 2)
	require.NoError(t, err, "whoever asks by name is told at once")
	list, err := s.ListKeys(t.Context())
	require.NoError(t, err)
	require.Empty(t, list.Problems)
}

// All versions of a kid are damaged: that is no kid that is free, and no key that is not found.
func TestAKeyWithoutAnyGoodRecord(t *testing.T) {
	h := newHostile(t)
	h.write(t, "")
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, "keys/victim/1.json"), nil, 0o600))
	s := opened(t, h.dir)
	errs := map[string]error{
		"GetKey":       second(s.GetKey(t.Context(), "victim", 0)),
		"ListVersions": second(s.ListVersions(t.Context(), "victim")),
		"CreateKey":    second(s.CreateKey(t.Context(), provider.KeySpec{KID: "victim", Alg: provider.Ed25519})),
		"RotateKey":    second(s.RotateKey(t.Context(), "victim", provider.Rotation{})),
		"ImportKey":    second(s.ImportKey(t.Context(), provider.KeySpec{KID: "victim", Alg: provider.Ed25519}, ed25519Public(t))),
		"PutVersion": second(s.PutVersion(t.Context(), provider.KeyRef{KID: "victim", Version: 1, Alg: provider.Ed25519, Bits: 256,
			Fingerprint: fingerprintOfZeros}, ed25519Public(t))),
	}
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		require.ErrorIs(t, errs[name], provider.ErrTampered, name)
	}
	require.ErrorIs(t, second(s.GetKey(t.Context(), "victim", 3)), provider.ErrNotFound)
}
