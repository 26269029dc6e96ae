//go:build unix

package softfile

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	jwxjwe "github.com/lestrrat-go/jwx/v2/jwe"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

func kidFor(alg provider.KeyAlg) string {
	return strings.ToLower(strings.ReplaceAll(string(alg), "_", "-"))
}

// fullStore has a key of two versions for every algorithm that may leave it, of which the first is retired, and a key
// whose last version was destroyed.
func fullStore(t *testing.T) *Store {
	t.Helper()
	s := opened(t, t.TempDir())
	for _, alg := range provider.Algs() {
		spec := provider.KeySpec{
			KID: kidFor(alg), Alg: alg, Bits: rsaBits(alg), Uses: alg.Uses()[:1], Export: provider.ExportSecretWhenAllowed,
			Label: "for <" + string(alg) + ">", Tags: map[string]string{"team": "billing & co"},
		}
		require.NoError(t, second(s.CreateKey(t.Context(), spec)))
		require.NoError(t, second(s.RotateKey(t.Context(), spec.KID, provider.Rotation{Windows: &provider.Windows{}})))
	}
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "ended", Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed})))
	require.NoError(t, second(s.RotateKey(t.Context(), "ended", provider.Rotation{Windows: &provider.Windows{}})))
	require.NoError(t, second(s.DestroyKey(t.Context(), "ended", 2)))
	return s
}

// contents describes all versions of all keys, without what differs between two stores.
func contents(t *testing.T, s *Store) map[string]provider.KeyRef {
	t.Helper()
	all := map[string]provider.KeyRef{}
	keys, err := s.ListKeys(t.Context())
	require.NoError(t, err)
	require.Empty(t, keys.Problems)
	for _, k := range keys.Keys {
		versions, err := s.ListVersions(t.Context(), k.KID)
		require.NoError(t, err)
		for _, v := range versions.Keys {
			v.Provenance = provider.Provenance{}
			all[v.JWKKID()] = v
		}
	}
	return all
}

// secretsOf returns the private bytes of all versions, in every form in which they are likely to be seen.
func secretsOf(t *testing.T, s *Store) []string {
	t.Helper()
	var forms []string
	for name, ref := range contents(t, s) {
		v, err := s.index.entry(ref.KID).version(ref.KID, ref.Version)
		require.NoError(t, err, name)
		key, err := s.vault.open(v)
		require.NoError(t, err, name)
		for _, b := range privateBytes(t, key) {
			forms = append(forms, string(b), base64.StdEncoding.EncodeToString(b)[:20], base64.RawURLEncoding.EncodeToString(b)[:20])
		}
	}
	return forms
}

func holdsNone(t *testing.T, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		require.NotContains(t, text, secret)
	}
}

func TestAStoreMovesInAnEncryptedSet(t *testing.T) {
	from := fullStore(t)
	set, exported, err := from.ExportEncrypted(t.Context(), passphrase("on the way"))
	require.NoError(t, err)
	require.Empty(t, exported.Left)
	holdsNone(t, string(set), secretsOf(t, from))

	dir := t.TempDir()
	to := openedWith(t, Config{Dir: dir, Passphrase: passphrase("another one")})
	report, err := to.ImportSet(t.Context(), append([]byte("\n"), set...), passphrase("on the way"))
	require.NoError(t, err)
	require.Empty(t, report.Left)
	require.Equal(t, names(exported.Taken), names(report.Taken))
	require.Equal(t, contents(t, from), contents(t, to), "kids, versions, schedules and descriptions")
	require.Equal(t, provider.Retired, contents(t, to)["ended.1"].State, "what a destroyed version had retired does not come back")
	for name, ref := range contents(t, from) {
		want, err := from.ExportKey(t.Context(), ref.KID, ref.Version)
		require.NoError(t, err, name)
		got, err := to.ExportKey(t.Context(), ref.KID, ref.Version)
		require.NoError(t, err, name)
		require.Equal(t, want.Expose(), got.Expose(), name)
	}

	before := snapshot(t, dir)
	again, err := to.ImportSet(t.Context(), set, passphrase("on the way"))
	require.NoError(t, err)
	require.Equal(t, names(report.Taken), names(again.Taken))
	require.Empty(t, again.Left)
	require.Equal(t, before, snapshot(t, dir), "a second time changes nothing")

	next, err := to.RotateKey(t.Context(), "ended", provider.Rotation{})
	require.NoError(t, err)
	require.Equal(t, 3, next.Version, "the number of a destroyed version is not given again")
}

// A set that had to grow would leave copies of keys behind which nobody wipes.
func TestASetIsMadeInOnePiece(t *testing.T) {
	for n := range 4 {
		keys := slices.Repeat([][]byte{[]byte(`{"kty":"oct"}`)}, n)
		set, err := joinSet(keys, setAbout{Format: formatVersion})
		require.NoError(t, err)
		require.True(t, json.Valid(set))
		require.LessOrEqual(t, cap(set)-len(set), 1, "%d keys", n)
	}
}

func TestAnyJOSEToolReadsAnEncryptedSet(t *testing.T) {
	s := fullStore(t)
	set, report, err := s.ExportEncrypted(t.Context(), passphrase("on the way"))
	require.NoError(t, err)
	message, err := jwxjwe.Parse(set)
	require.NoError(t, err)
	require.Equal(t, "jwk-set+json", message.ProtectedHeaders().ContentType())
	plaintext, err := jwxjwe.Decrypt(set, jwxjwe.WithKey(jwa.PBES2_HS512_A256KW, []byte("on the way")))
	require.NoError(t, err)
	keys, err := jwk.Parse(plaintext)
	require.NoError(t, err)
	require.Equal(t, len(report.Taken), keys.Len())
	for i, ref := range report.Taken {
		k, _ := keys.Key(i)
		require.Equal(t, ref.JWKKID(), k.KeyID())
		require.Equal(t, ref.Alg.JWA(), k.Algorithm().String())
		private, err := jwk.IsPrivateKey(k)
		require.True(t, err != nil && ref.Alg.Class() == provider.Symmetric || private, "%s: %v", ref.JWKKID(), err)
		require.NoError(t, k.Validate())
	}
}

// sealedSet encrypts text as another JOSE tool would.
func sealedSet(t *testing.T, text string) []byte {
	t.Helper()
	headers := jwxjwe.NewHeaders()
	require.NoError(t, headers.Set("cty", ctyJWKSet))
	set, err := jwxjwe.Encrypt([]byte(text), jwxjwe.WithKey(jwa.PBES2_HS512_A256KW, []byte("pw")), jwxjwe.WithContentEncryption(jwa.A256GCM), jwxjwe.WithProtectedHeaders(headers))
	require.NoError(t, err)
	return set
}

func openedSet(t *testing.T, s *Store) string {
	t.Helper()
	set, _, err := s.ExportEncrypted(t.Context(), passphrase("pw"))
	require.NoError(t, err)
	plaintext, err := openSet(t.Context(), set, passphrase("pw"))
	require.NoError(t, err)
	return string(plaintext)
}

func TestAPublicSetHoldsNoPrivateByte(t *testing.T) {
	from := fullStore(t)
	set, exported, err := from.ExportPublic(t.Context())
	require.NoError(t, err)
	holdsNone(t, string(set), secretsOf(t, from))
	var left []string
	for _, l := range exported.Left {
		require.ErrorIs(t, l.Reason, provider.ErrUnsupported)
		left = append(left, l.Name)
	}
	require.Equal(t, []string{"aes256-gcm.1", "aes256-gcm.2", "hmac-sha256.1", "hmac-sha256.2"}, left, "symmetric keys have no public half")

	keys, err := jwk.Parse(set)
	require.NoError(t, err)
	require.Equal(t, len(exported.Taken), keys.Len())
	for i, ref := range exported.Taken {
		require.False(t, ref.Private)
		k, _ := keys.Key(i)
		require.Equal(t, ref.JWKKID(), k.KeyID())
		private, err := jwk.IsPrivateKey(k)
		require.NoError(t, err)
		require.False(t, private)
		served, err := from.PublicJWK(t.Context(), ref.KID, ref.Version)
		require.NoError(t, err)
		require.NoError(t, k.Remove(setMember))
		text, err := json.Marshal(k)
		require.NoError(t, err)
		require.JSONEq(t, string(served.JSON()), string(text), "the JWK is the one that the store serves, and one member")
	}

	to := openedWith(t, Config{Dir: t.TempDir()})
	report, err := to.ImportSet(t.Context(), set, nil)
	require.NoError(t, err)
	require.Empty(t, report.Left)
	want := contents(t, from)
	for name, ref := range want {
		ref.Private = false
		want[name] = ref
		if ref.Alg.Class() == provider.Symmetric {
			delete(want, name)
		}
	}
	require.Equal(t, want, contents(t, to))
}

func TestWhatItsPolicyKeepsInStaysIn(t *testing.T) {
	from := opened(t, t.TempDir())
	require.NoError(t, second(from.CreateKey(t.Context(), provider.KeySpec{KID: "secret", Alg: provider.AES256GCM})))
	require.NoError(t, second(from.CreateKey(t.Context(), provider.KeySpec{KID: "pair", Alg: provider.Ed25519, Export: provider.ExportPublicOnly})))
	require.NoError(t, second(from.ImportKey(t.Context(), provider.KeySpec{KID: "public", Alg: provider.Ed25519}, ed25519Public(t))))
	secrets := secretsOf(t, openedCopy(t, from, "public"))
	text := openedSet(t, from)
	holdsNone(t, text, secrets)
	_, report, err := from.ExportEncrypted(t.Context(), passphrase("pw"))
	require.NoError(t, err)
	require.Equal(t, []string{"pair.1", "public.1"}, names(report.Taken))
	require.Len(t, report.Left, 2)
	require.Equal(t, "pair.1: private half", report.Left[0].Name)
	require.Equal(t, "secret.1", report.Left[1].Name)
	for _, l := range report.Left {
		require.ErrorIs(t, l.Reason, provider.ErrNotExportable)
	}
}

// openedCopy opens a copy of a store's directory, which moves everything, without one of its keys.
func openedCopy(t *testing.T, s *Store, without string) *Store {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(s.path)))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "keys", without)))
	return opened(t, dir)
}

func TestAStoreWithoutItsPassphraseTakesPublicHalves(t *testing.T) {
	from := fullStore(t)
	set, _, err := from.ExportEncrypted(t.Context(), passphrase("pw"))
	require.NoError(t, err)
	dir := t.TempDir()
	locked := openedWith(t, Config{Dir: dir})
	require.ErrorIs(t, exportError(locked), provider.ErrAuth)
	report, err := locked.ImportSet(t.Context(), set, passphrase("pw"))
	require.NoError(t, err)
	for _, l := range report.Left {
		require.ErrorIs(t, l.Reason, provider.ErrAuth, l.Name)
	}
	require.Len(t, report.Left, len(contents(t, from)))
	require.Len(t, report.Taken, len(contents(t, from))-4)

	unlocked := opened(t, dir)
	report, err = unlocked.ImportSet(t.Context(), set, passphrase("pw"))
	require.NoError(t, err)
	require.Empty(t, report.Left)
	require.Equal(t, contents(t, from), contents(t, unlocked), "the private halves are added")
}

func exportError(s *Store) error {
	_, _, err := s.ExportEncrypted(context.Background(), passphrase("pw"))
	return err
}

func TestAnImportOverwritesNothing(t *testing.T) {
	from := opened(t, t.TempDir())
	for _, kid := range []string{"free", "taken"} {
		require.NoError(t, second(from.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.AES256GCM, Export: provider.ExportSecretWhenAllowed})))
		require.NoError(t, second(from.RotateKey(t.Context(), kid, provider.Rotation{Windows: &provider.Windows{}})))
		require.NoError(t, second(from.RotateKey(t.Context(), kid, provider.Rotation{Windows: &provider.Windows{}})))
		require.NoError(t, second(from.DestroyKey(t.Context(), kid, 3)))
	}
	set, exported, err := from.ExportEncrypted(t.Context(), passphrase("pw"))
	require.NoError(t, err)
	first := exported.Taken[2]
	require.Equal(t, "taken.1", first.JWKKID())

	tests := []struct {
		name string
		make func(t *testing.T, s *Store)
	}{
		{"another key", func(t *testing.T, s *Store) {
			require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "taken", Alg: provider.Ed25519})))
		}},
		{"another secret of the same description", func(t *testing.T, s *Store) {
			require.NoError(t, second(s.PutVersion(t.Context(), first, provider.KeyMaterial{Private: provider.NewSecret(make([]byte, 32))})))
		}},
		{"another label", func(t *testing.T, s *Store) {
			secret, err := from.ExportKey(t.Context(), "taken", 1)
			require.NoError(t, err)
			ref := first.Clone()
			ref.Label = "mine"
			require.NoError(t, second(s.PutVersion(t.Context(), ref, provider.KeyMaterial{Private: secret})))
		}},
		{"destroyed here", func(t *testing.T, s *Store) {
			require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "taken", Alg: provider.Ed25519})))
			require.NoError(t, second(s.DestroyKey(t.Context(), "taken", 1)))
		}},
		{"alive here, destroyed there", func(t *testing.T, s *Store) {
			ref := first.Clone()
			ref.Version = 3
			require.NoError(t, second(s.PutVersion(t.Context(), ref, provider.KeyMaterial{Private: provider.NewSecret(make([]byte, 32))})))
		}},
		{"a record that can't be read", func(t *testing.T, s *Store) {
			require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "taken", Alg: provider.Ed25519})))
			require.NoError(t, os.WriteFile(filepath.Join(s.path, "keys/taken/1.json"), []byte("{"), 0o600))
		}},
		{"tombstones that can't be read", func(t *testing.T, s *Store) {
			require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "taken", Alg: provider.Ed25519})))
			require.NoError(t, os.WriteFile(filepath.Join(s.path, "keys/taken/destroyed.json"), []byte("{"), 0o600))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to := opened(t, t.TempDir())
			tt.make(t, to)
			before := snapshot(t, filepath.Join(to.path, "keys/taken"))
			report, err := to.ImportSet(t.Context(), set, passphrase("pw"))
			require.NoError(t, err)
			require.Equal(t, []string{"free.1", "free.2"}, names(report.Taken), "another key is not touched by it")
			require.NotEmpty(t, report.Left)
			for _, l := range report.Left {
				require.True(t, isOneOf(l.Reason, provider.ErrExists, provider.ErrTampered), "%v", l)
			}
			require.Equal(t, before, snapshot(t, filepath.Join(to.path, "keys/taken")))
		})
	}
}

func TestSetsThatAreRefused(t *testing.T) {
	from := opened(t, t.TempDir())
	require.NoError(t, second(from.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed})))
	secrets := secretsOf(t, from)
	public, _, err := from.ExportPublic(t.Context())
	require.NoError(t, err)
	private := openedSet(t, from)
	served, err := from.JWKS(t.Context(), "")
	require.NoError(t, err)
	sealed := string(sealedSet(t, private))
	jwk, err := from.vault.seal(from.index.entry("k").versions[0].rec, provider.ParsedMaterial{Private: newSeed()})
	require.NoError(t, err)

	tests := []struct {
		name, set string
		source    provider.SecretSource
		want      error
	}{
		{"nothing", "", nil, provider.ErrInvalid},
		{"no set", "[]", nil, provider.ErrInvalid},
		{"half a set", string(public[:len(public)-9]), nil, provider.ErrInvalid},
		{"half a private set", private[:len(private)-9], nil, provider.ErrInvalid},
		{"what JWKS serves, which does not bring a store back", string(served.JSON()), nil, provider.ErrInvalid},
		{"a newer format", strings.Replace(string(public), `"format":1`, `"format":2`, 1), nil, provider.ErrUnsupported},
		{"no format", strings.Replace(string(public), `"format":1`, ``, 1), nil, provider.ErrInvalid},
		{"a member twice", strings.Replace(string(public), `"keys"`, `"keys":[],"keys"`, 1), nil, provider.ErrInvalid},
		{"an unknown member", strings.Replace(string(public), `"keys"`, `"more":1,"keys"`, 1), nil, provider.ErrInvalid},
		{"an unknown member of what the store says", strings.Replace(string(public), `"format":1`, `"format":1,"more":1`, 1), nil, provider.ErrInvalid},
		{"no keys", `{"` + setMember + `":{"format":1}}`, nil, provider.ErrInvalid},
		{"a number in the place of a private key", strings.Replace(private, `"d":"`, `"d":12345678901234567890,"p":"`, 1) + "x", nil, provider.ErrInvalid},
		{"a file of the store", jwk, passphrase("pw"), provider.ErrInvalid},
		{"the wrong passphrase", sealed, passphrase("no"), provider.ErrAuth},
		{"an empty passphrase", sealed, passphrase(""), provider.ErrAuth},
		{"no passphrase", sealed, nil, provider.ErrAuth},
		{"a byte changed", sealed[:len(sealed)-4] + "AAAA", passphrase("pw"), provider.ErrAuth},
		{"no set inside", string(sealedSet(t, "[]")), passphrase("pw"), provider.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to := opened(t, t.TempDir())
			before := snapshot(t, to.path)
			report, err := to.ImportSet(t.Context(), []byte(tt.set), tt.source)
			require.ErrorIs(t, err, tt.want)
			holdsNone(t, err.Error(), append(secrets, "1234567"))
			require.Empty(t, report)
			require.Equal(t, before, snapshot(t, to.path))
		})
	}
}

func TestEntriesThatAreRefused(t *testing.T) {
	from := opened(t, t.TempDir())
	for _, kid := range []string{"good", "k"} {
		require.NoError(t, second(from.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256, Export: provider.ExportSecretWhenAllowed})))
	}
	secrets := secretsOf(t, from)
	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(openedSet(t, from)), &set))
	d := set.Keys[0]["d"].(string)
	pkcs8, err := from.ExportKey(t.Context(), "k", 1)
	require.NoError(t, err)

	about := func(k map[string]any) map[string]any { return k[setMember].(map[string]any) }
	tests := []struct {
		name string
		edit func(k map[string]any)
		left string
	}{
		{"a kid that is a path", func(k map[string]any) { k["kid"] = "../k.1" }, "keys[1]"},
		{"a kid without a version", func(k map[string]any) { k["kid"] = "k" }, "keys[1]"},
		{"a version that is too high", func(k map[string]any) { k["kid"] = "k.1000000000" }, "k.1000000000"},
		{"the version of another", func(k map[string]any) { k["kid"] = "good.1" }, "good.1"},
		{"the private half of another", func(k map[string]any) { k["d"] = d }, "k.1"},
		{"a private half that is none", func(k map[string]any) { k["d"] = "AAAA" }, "k.1"},
		{"a private half of the wrong type", func(k map[string]any) { k["d"] = 12345678 }, "keys[1]"},
		{"another algorithm", func(k map[string]any) { k["alg"] = "ES384" }, "k.1"},
		{"an unknown algorithm", func(k map[string]any) { k["alg"] = "ES256K" }, "k.1"},
		{"another type", func(k map[string]any) { k["kty"] = "oct" }, "k.1"},
		{"another type, with all of the key", func(k map[string]any) { k["kty"], k["k"] = "oct", b64.EncodeToString(pkcs8.Expose()) }, "k.1"},
		{"a point off the curve", func(k map[string]any) { k["x"] = k["y"] }, "k.1"},
		{"operations that it may not do", func(k map[string]any) { k["key_ops"] = []string{"sign", "deriveKey"} }, "k.1"},
		{"another policy than its ext", func(k map[string]any) { about(k)["export_policy"] = "none" }, "k.1"},
		{"an unknown policy", func(k map[string]any) { about(k)["export_policy"] = "all"; k["ext"] = false }, "k.1"},
		{"an unknown use", func(k map[string]any) { about(k)["uses"] = []string{"sign", "fly"} }, "k.1"},
		{"a label that is too long", func(k map[string]any) { about(k)["label"] = strings.Repeat("x", 257) }, "k.1"},
		{"no time", func(k map[string]any) { delete(about(k), "created") }, "k.1"},
		{"no schedule that there could be", func(k map[string]any) { about(k)["retire_after"] = -1 }, "keys[1]"},
		{"no description", func(k map[string]any) { delete(k, setMember) }, "k.1"},
		{"an unknown member", func(k map[string]any) { k["x5u"] = "https://example.com" }, "keys[1]"},
		{"an unknown member of the description", func(k map[string]any) { about(k)["x"] = 1 }, "keys[1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var edited map[string]any
			require.NoError(t, json.Unmarshal([]byte(openedSet(t, from)), &edited))
			tt.edit(edited["keys"].([]any)[1].(map[string]any))
			text, err := json.Marshal(edited)
			require.NoError(t, err)
			to := opened(t, t.TempDir())
			report, err := to.ImportSet(t.Context(), sealedSet(t, string(text)), passphrase("pw"))
			require.NoError(t, err)
			require.Equal(t, []string{"good.1"}, names(report.Taken), "a bad entry hides no other")
			require.Len(t, report.Left, 1)
			require.Equal(t, tt.left, report.Left[0].Name)
			require.ErrorIs(t, report.Left[0].Reason, provider.ErrInvalid)
			holdsNone(t, report.Left[0].String(), append(secrets, "123456"))
			require.NoDirExists(t, filepath.Join(to.path, "keys/k"))

			report, err = to.ImportSet(t.Context(), text, nil)
			require.NoError(t, err)
			require.Empty(t, report.Taken, "a private key in plain text is not taken")
			for _, l := range report.Left {
				require.ErrorIs(t, l.Reason, provider.ErrInvalid)
				holdsNone(t, l.String(), append(secrets, "123456"))
			}
		})
	}
}

// Which of the two is true can't be told: neither is taken, and the number stays free.
func TestAVersionThatIsBothThereAndDestroyed(t *testing.T) {
	from := opened(t, t.TempDir())
	require.NoError(t, second(from.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	require.NoError(t, second(from.RotateKey(t.Context(), "k", provider.Rotation{})))
	require.NoError(t, second(from.DestroyKey(t.Context(), "k", 2)))
	set, _, err := from.ExportPublic(t.Context())
	require.NoError(t, err)
	edited := strings.Replace(string(set), `"versions":[{"version":2`, `"versions":[{"version":1`, 1)
	require.NotEqual(t, string(set), edited)
	to := opened(t, t.TempDir())
	report, err := to.ImportSet(t.Context(), []byte(edited), nil)
	require.NoError(t, err)
	require.Empty(t, report.Taken)
	require.Len(t, report.Left, 1)
	require.Equal(t, "k.1", report.Left[0].Name)
	require.ErrorIs(t, report.Left[0].Reason, provider.ErrInvalid)
	require.NoDirExists(t, filepath.Join(to.path, "keys/k"))
}

// Without its tombstones, a version could come back that a destroyed one had retired.
func TestBadTombstonesSpoilTheSet(t *testing.T) {
	from := fullStore(t)
	public, _, err := from.ExportPublic(t.Context())
	require.NoError(t, err)
	for _, tt := range []struct{ name, old, new string }{
		{"no kid", `"kid":"ended","versions"`, `"versions"`},
		{"a kid that is a path", `"kid":"ended","versions"`, `"kid":"../ended","versions"`},
		{"no number", `"versions":[{"version":2`, `"versions":[{"version":0`},
		{"a newer format", `{"format":1,"kid":"ended"`, `{"format":2,"kid":"ended"`},
		{"twice", `"destroyed":[{`, `"destroyed":[{"format":1,"kid":"ended","versions":[]},{`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Contains(t, string(public), tt.old)
			to := opened(t, t.TempDir())
			before := snapshot(t, to.path)
			_, err := to.ImportSet(t.Context(), []byte(strings.Replace(string(public), tt.old, tt.new, 1)), nil)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.Equal(t, before, snapshot(t, to.path))
		})
	}
}

func TestAnExportNamesWhatItCouldNotRead(t *testing.T) {
	s := opened(t, t.TempDir())
	for _, kid := range []string{"a", "b", "c"} {
		require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: provider.Ed25519})))
		require.NoError(t, second(s.RotateKey(t.Context(), kid, provider.Rotation{})))
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.path, "keys/a/1.json"), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.path, "keys/b/destroyed.json"), []byte("{"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(s.path, "keys/no kid"), 0o700))
	age(t, s.path)
	s.index.forget()
	set, report, err := s.ExportPublic(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a.2", "c.1", "c.2"}, names(report.Taken))
	var left []string
	for _, l := range report.Left {
		require.ErrorIs(t, l.Reason, provider.ErrTampered)
		left = append(left, l.Name)
	}
	require.Equal(t, []string{"keys", "a.1", "b"}, left)
	require.True(t, bytes.HasPrefix(set, []byte(`{"keys":[{`)))
}

func TestMovesEndWithTheirContextAndTheirStore(t *testing.T) {
	from := fullStore(t)
	set, _, err := from.ExportPublic(t.Context())
	require.NoError(t, err)
	to := opened(t, t.TempDir())
	before := snapshot(t, to.path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := func(ctx context.Context) []error {
		_, _, err1 := to.ExportPublic(ctx)
		_, _, err2 := to.ExportEncrypted(ctx, passphrase("pw"))
		_, err3 := to.ImportSet(ctx, set, nil)
		_, err4 := to.ImportOriginal(ctx, t.TempDir())
		return []error{err1, err2, err3, err4}
	}
	for _, err := range calls(ctx) {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, to.Close())
	for _, err := range calls(t.Context()) {
		require.ErrorIs(t, err, provider.ErrClosed)
	}
	require.Equal(t, before, snapshot(t, to.path))
	_, _, err = from.ExportEncrypted(t.Context(), nil)
	require.ErrorIs(t, err, provider.ErrAuth)
}

func isOneOf(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// Whatever step of an import fails, nothing half done is left, and the import can be done again.
func TestAnImportOntoADiskThatFails(t *testing.T) {
	from := opened(t, t.TempDir())
	spec := provider.KeySpec{KID: "k", Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed}
	require.NoError(t, second(from.CreateKey(t.Context(), spec)))
	require.NoError(t, second(from.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{}})))
	require.NoError(t, second(from.RotateKey(t.Context(), "k", provider.Rotation{})))
	require.NoError(t, second(from.DestroyKey(t.Context(), "k", 3)))
	want := contents(t, from)
	set, _, err := from.ExportEncrypted(t.Context(), passphrase("pw"))
	require.NoError(t, err)

	for failing := 0; ; failing++ {
		dir := t.TempDir()
		to, step := opened(t, dir), 0
		to.hook = func(fileops.Op) error {
			step++
			if step == failing+1 {
				return syscall.ENOSPC
			}
			return nil
		}
		to.index.hook = to.hook
		report, err := to.ImportSet(t.Context(), set, passphrase("pw"))
		if step <= failing {
			require.NoError(t, err)
			require.Empty(t, report.Left)
			require.Greater(t, failing, 20, "the import was watched")
			return
		}
		if len(report.Left) == 0 && err == nil {
			require.Equal(t, []string{"k.1", "k.2"}, names(report.Taken), "step %d is one that an import can do without", failing)
		}
		for name, ref := range contents(t, opened(t, dir)) {
			require.Equal(t, want[name].Fingerprint, ref.Fingerprint)
			require.True(t, ref.Private)
			require.Equal(t, want[name].State, ref.State, "what was retired is never published again, also not for a while")
		}
		again := opened(t, dir)
		report, err = again.ImportSet(t.Context(), set, passphrase("pw"))
		require.NoError(t, err)
		require.Empty(t, report.Left)
		require.Equal(t, want, contents(t, again))
	}
}

// No text makes the parser of sets fail otherwise than by an error, and no key comes out of it that is none.
func FuzzSet(f *testing.F) {
	f.Add(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik","kid":"k.1","alg":"EdDSA","github.com/hsmmirror/hsmmirror":` +
		`{"uses":["sign"],"export_policy":"none","created":"2000-01-01T00:00:00Z","active_from":"2000-01-01T00:00:00Z","retire_after":0}}],` +
		`"github.com/hsmmirror/hsmmirror":{"format":1}}`)
	f.Add(`{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","kid":"k.1","alg":"A256GCM"}],"github.com/hsmmirror/hsmmirror":{"format":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseSet([]byte(text))
		if err != nil {
			return
		}
		for _, entry := range set.Keys {
			var k setKey
			if decodeStrict(entry, &k) != nil {
				continue
			}
			for _, secret := range []bool{false, true} {
				ref, key, err := k.parse(secret)
				if err == nil && (key.Bits == 0 || ref.Alg.Class() == provider.Asymmetric && key.Public == nil || !secret && hasPrivate(key)) {
					t.Fatalf("%s: %v", ref.JWKKID(), key.Bits)
				}
			}
		}
	})
}
