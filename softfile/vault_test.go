//go:build unix

package softfile

import (
	"context"
	"crypto/ecdh"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestAWrongPassphraseTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, second(opened(t, dir).CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	require.NoError(t, os.Chmod(filepath.Join(dir, "keys"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".tmp-00"), nil, 0o600))
	none := func(err error) provider.SecretSource {
		return func(context.Context) (provider.Secret, error) { return provider.Secret{}, err }
	}
	for name, source := range map[string]provider.SecretSource{
		"another one": passphrase("shut sesame"), "an empty one": passphrase(""), "none": none(errors.New("no terminal")),
	} {
		before := snapshot(t, dir)
		_, err := open(t.Context(), Config{Dir: dir, Passphrase: source}, nil, quickly)
		require.ErrorIs(t, err, provider.ErrAuth, name)
		require.NotContains(t, err.Error(), "sesame")
		require.Equal(t, before, snapshot(t, dir), name)
		fresh := filepath.Join(t.TempDir(), "fresh")
		if name != "another one" {
			_, err = open(t.Context(), Config{Dir: fresh, Passphrase: source}, nil, quickly)
			require.ErrorIs(t, err, provider.ErrAuth, name)
			require.NoDirExists(t, fresh)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := open(ctx, Config{Dir: dir, Passphrase: func(context.Context) (provider.Secret, error) {
		cancel()
		return provider.NewSecret([]byte("open sesame")), nil
	}}, nil, quickly)
	require.ErrorIs(t, err, context.Canceled)
}

func TestTheStoreWipesThePassphrase(t *testing.T) {
	given := provider.NewSecret([]byte("open sesame"))
	s := openedWith(t, Config{Dir: t.TempDir(), Passphrase: func(context.Context) (provider.Secret, error) { return given, nil }})
	require.True(t, given.Empty())
	require.NoError(t, s.Close())
	require.True(t, s.vault.key.Empty(), "and the store key at the end")
}

// What a store without a passphrase does, and what it says to the rest.
func TestAStoreWithoutItsPassphraseIsPublic(t *testing.T) {
	dir := t.TempDir()
	full := opened(t, dir)
	want := map[string]provider.KeyRef{}
	for kid, alg := range map[string]provider.KeyAlg{
		"sign": provider.Ed25519, "decrypt": provider.RSAOAEPSHA256, "aead": provider.AES256GCM, "mac": provider.HMACSHA256, "agree": provider.X25519,
	} {
		ref, err := full.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg, Export: provider.ExportSecretWhenAllowed, Bits: rsaBits(alg)})
		require.NoError(t, err)
		require.True(t, ref.Private)
		want[kid] = ref
	}
	s := openedWith(t, Config{Dir: dir})
	for kid, ref := range want {
		got, err := s.GetKey(t.Context(), kid, 1)
		require.NoError(t, err)
		require.False(t, got.Private)
		got.Private, got.Provenance = true, ref.Provenance
		require.Equal(t, ref, got)
	}
	peer, err := ecdh.X25519().NewPublicKey(append(make([]byte, 31), 9))
	require.NoError(t, err)
	private, err := provider.Material(newSeed())
	require.NoError(t, err)
	copied := want["sign"]
	copied.KID, copied.Fingerprint = "copied", fingerprintOfZeros
	locked := map[string]error{
		"CreateKey":  second(s.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519})),
		"ImportKey":  second(s.ImportKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519}, private)),
		"RotateKey":  second(s.RotateKey(t.Context(), "sign", provider.Rotation{})),
		"PutVersion": second(s.PutVersion(t.Context(), copied, private)),
		"Signer":     second(s.Signer(t.Context(), "sign", 0)),
		"Decrypter":  second(s.Decrypter(t.Context(), "decrypt", 0)),
		"AEAD":       second(s.AEAD(t.Context(), "aead", 0)),
		"MAC":        second(s.MAC(t.Context(), "mac", 0)),
		"ECDH":       second(s.ECDH(t.Context(), "agree", 0, peer)),
		"ExportKey":  second(s.ExportKey(t.Context(), "sign", 0)),
		"passphrase": s.ChangePassphrase(t.Context(), passphrase("shut sesame")),
	}
	for _, name := range slices.Sorted(maps.Keys(locked)) {
		require.ErrorIs(t, locked[name], provider.ErrAuth, name)
		require.ErrorContains(t, locked[name], "opened without a passphrase", name)
	}
	caps, err := s.Capabilities(t.Context())
	require.NoError(t, err)
	for _, a := range caps.Algs {
		require.False(t, a.Create || a.Import || a.Use)
		require.Contains(t, a.Missing, "passphrase")
	}
	require.True(t, caps.Has(provider.FeatureReplica))
	require.False(t, caps.Has(provider.FeatureExport))

	public, err := s.ImportKey(t.Context(), provider.KeySpec{KID: "public", Alg: provider.Ed25519}, ed25519Public(t))
	require.NoError(t, err)
	require.False(t, public.Private)
	require.ErrorIs(t, second(full.Signer(t.Context(), "public", 0)), provider.ErrUnsupported, "no passphrase helps what has no private half")
	require.ErrorIs(t, second(s.Signer(t.Context(), "public", 0)), provider.ErrUnsupported)
	require.ErrorIs(t, second(s.RotateKey(t.Context(), "public", provider.Rotation{})), provider.ErrUnsupported)
	set, err := s.JWKS(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"agree.1", "decrypt.1", "public.1", "sign.1"}, jwkNames(set))
	require.NoError(t, second(s.DestroyKey(t.Context(), "sign", 1)))
	require.NoError(t, s.Health(t.Context()))
}

func rsaBits(alg provider.KeyAlg) int {
	if alg.KeyType() == "RSA" {
		return provider.MinRSABits
	}
	return 0
}

// A copy whose description changes keeps its private half, which was encrypted together with a part of the description.
func TestACopyKeepsItsPrivateHalf(t *testing.T) {
	private, err := provider.Material(newSeed())
	require.NoError(t, err)
	ref := provider.KeyRef{KID: "k", Version: 3, Alg: provider.Ed25519, Bits: 256, Fingerprint: fingerprintOfZeros}
	dir := t.TempDir()
	s, locked := opened(t, dir), openedWith(t, Config{Dir: dir})
	require.NoError(t, second(s.PutVersion(t.Context(), ref, private)))
	file, err := os.Stat(filepath.Join(dir, "keys/k/3.json"))
	require.NoError(t, err)
	require.NoError(t, second(s.PutVersion(t.Context(), ref, private)))
	require.NoError(t, second(locked.PutVersion(t.Context(), ref, ed25519Public(t))))
	same, err := os.Stat(filepath.Join(dir, "keys/k/3.json"))
	require.NoError(t, err)
	require.True(t, os.SameFile(file, same), "repeating it writes nothing")

	ref.Label = "renamed without the passphrase"
	require.NoError(t, second(locked.PutVersion(t.Context(), ref, ed25519Public(t))))
	require.NoError(t, second(s.Signer(t.Context(), "k", 3)))
	ref.Export = provider.ExportSecretWhenAllowed
	require.ErrorIs(t, second(locked.PutVersion(t.Context(), ref, ed25519Public(t))), provider.ErrAuth, "what may leave is under the passphrase")
	require.ErrorIs(t, second(s.ExportKey(t.Context(), "k", 3)), provider.ErrNotExportable)
	require.NoError(t, second(s.PutVersion(t.Context(), ref, ed25519Public(t))))
	require.NoError(t, second(s.ExportKey(t.Context(), "k", 3)))
	require.NoError(t, second(s.Signer(t.Context(), "k", 3)))
}

// Whatever may differ in the description of a copy is brought up to date, in its file too; and what is the same is not written.
func TestACopyIsBroughtUpToDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := openedWith(t, Config{Dir: dir})
		ref := provider.KeyRef{
			KID: "k", Version: 1, Alg: provider.Ed25519, Bits: 256, Fingerprint: fingerprintOfZeros, Uses: provider.Ed25519.Uses(),
			Export: provider.ExportNone, Tags: map[string]string{"a": "1"},
		}
		for name, change := range map[string]func(){
			"first":        func() {},
			"uses":         func() { ref.Uses = []provider.KeyUse{provider.UseVerify} },
			"export":       func() { ref.Export = provider.ExportPublicOnly },
			"label":        func() { ref.Label = "other" },
			"tags":         func() { ref.Tags = map[string]string{"a": "2"} },
			"created":      func() { ref.Created = time.Now().UTC().Add(-time.Hour) },
			"active from":  func() { ref.ActiveFrom = time.Now().UTC().Add(-time.Minute) },
			"retire after": func() { ref.RetireAfter = time.Minute },
			"imported":     func() { ref.Imported = !ref.Imported },
		} {
			change()
			require.NoError(t, second(s.PutVersion(t.Context(), ref, ed25519Public(t))), name)
			before, err := os.Stat(filepath.Join(dir, "keys/k/1.json"))
			require.NoError(t, err)
			time.Sleep(time.Hour)
			require.NoError(t, second(s.PutVersion(t.Context(), ref, ed25519Public(t))), name)
			after, err := os.Stat(filepath.Join(dir, "keys/k/1.json"))
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after), "%s: repeating it writes nothing, also where the time of creation is unknown", name)
			for _, store := range []*Store{s, openedWith(t, Config{Dir: dir})} {
				got, err := store.GetKey(t.Context(), "k", 1)
				require.NoError(t, err)
				want := ref
				want.State, want.Provenance = got.State, got.Provenance
				if ref.Created.IsZero() {
					want.Created = got.Created
				}
				require.Equal(t, want, got, name)
			}
		}
	})
}

func TestACopyOfASecretIsComparedUnderThePassphrase(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	ref := provider.KeyRef{KID: "k", Version: 1, Alg: provider.AES256GCM, Bits: 256}
	secret := func(b byte) provider.KeyMaterial {
		return provider.KeyMaterial{Private: provider.NewSecret(append(make([]byte, 31), b))}
	}
	require.NoError(t, second(s.PutVersion(t.Context(), ref, secret(1))))
	require.NoError(t, second(s.PutVersion(t.Context(), ref, secret(1))))
	require.ErrorIs(t, second(s.PutVersion(t.Context(), ref, secret(2))), provider.ErrExists)
	ref.Export = provider.ExportSecretWhenAllowed
	require.NoError(t, second(s.PutVersion(t.Context(), ref, secret(1))))
	got, err := s.ExportKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.Equal(t, secret(1).Private.Expose(), got.Expose())
}

func TestChangeOfPassphrase(t *testing.T) {
	dir := t.TempDir()
	s, other := opened(t, dir), opened(t, dir)
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	record := read(t, dir, "keys/k/1.json")
	require.NoError(t, s.ChangePassphrase(t.Context(), passphrase("shut sesame")))
	require.Equal(t, record, read(t, dir, "keys/k/1.json"), "one file changes")
	_, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, nil, quickly)
	require.ErrorIs(t, err, provider.ErrAuth)
	again := openedWith(t, Config{Dir: dir, Passphrase: passphrase("shut sesame")})
	require.NoError(t, second(again.Signer(t.Context(), "k", 0)))
	require.NoError(t, second(other.Signer(t.Context(), "k", 0)), "who has the store open goes on")
	ref, err := other.RotateKey(t.Context(), "k", provider.Rotation{})
	require.NoError(t, err)
	require.NoError(t, second(again.Signer(t.Context(), "k", ref.Version)))
	require.ErrorIs(t, s.ChangePassphrase(t.Context(), passphrase("")), provider.ErrAuth)
}

func TestTheStoreKeyIsGoneOrAnotherOne(t *testing.T) {
	dir, otherDir := t.TempDir(), t.TempDir()
	s := opened(t, dir)
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	require.NoError(t, second(opened(t, otherDir).CreateKey(t.Context(), provider.KeySpec{KID: "other", Alg: provider.Ed25519})))
	path := filepath.Join(dir, "storekey.jwe")
	good := read(t, path)
	reopen := func() error {
		_, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, nil, quickly)
		return err
	}
	tests := []struct {
		name string
		do   func() error
	}{
		{"gone", func() error { return os.Remove(path) }},
		{"empty", func() error { return os.WriteFile(path, nil, 0o600) }},
		{"a link", func() error {
			return errors.Join(os.Remove(path), os.Symlink("elsewhere", path))
		}},
		{"too large", func() error { return os.WriteFile(path, make([]byte, maxStoreKey+1), 0o600) }},
		{"of the wrong kind", func() error {
			return os.WriteFile(path, []byte(strings.Trim(member(t, read(t, dir, "keys/k/1.json"), "private"), `"`)), 0o600)
		}},
		{"that of another store", func() error { return os.WriteFile(path, []byte(read(t, otherDir, "storekey.jwe")), 0o600) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, tt.do())
			for name, err := range map[string]error{
				"CreateKey": second(s.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519})),
				"RotateKey": second(s.RotateKey(t.Context(), "k", provider.Rotation{})),
				"Health":    s.Health(t.Context()),
				"change":    s.ChangePassphrase(t.Context(), passphrase("x")),
			} {
				require.ErrorIs(t, err, provider.ErrTampered, name)
				require.ErrorContains(t, err, path, name)
			}
			require.NoError(t, second(s.Signer(t.Context(), "k", 0)), "what is there can be used")
			require.NoError(t, second(openedWith(t, Config{Dir: dir}).JWKS(t.Context(), "")), "public keys need no store key")
			if tt.name == "that of another store" {
				require.NoError(t, reopen(), "it has the same passphrase")
				require.ErrorIs(t, second(opened(t, dir).Signer(t.Context(), "k", 0)), provider.ErrTampered)
			} else {
				require.ErrorIs(t, reopen(), provider.ErrTampered, "and no other store key is made")
			}
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.WriteFile(path, []byte(good), 0o600))
			require.NoError(t, reopen())
		})
	}
}

// Whoever knows the passphrase can encrypt anything under it.
func TestAStoreKeyThatIsNone(t *testing.T) {
	good := newVault()
	secret := provider.NewSecret([]byte("open sesame"))
	lock := func(plaintext string) jwe {
		h := jweHeader{Alg: algPassphrase, KID: good.id, P2S: b64.EncodeToString(random(saltSize)), P2C: quickly}
		kek, err := h.derive(secret.Expose())
		require.NoError(t, err)
		text, err := sealJWE(h, kek, []byte(plaintext))
		require.NoError(t, err)
		j, err := parseJWE(text)
		require.NoError(t, err)
		return j
	}
	key := b64.EncodeToString(good.key.Expose())
	jwk := `{"kty":"oct","k":"` + key + `","kid":"` + good.id + `","alg":"A256KW"}`
	for _, tt := range []struct{ name, old, new string }{
		{"no JWK", `{"kty"`, `{"kty":1,"k`},
		{"another kind of key", `"oct"`, `"RSA"`},
		{"for another algorithm", `"A256KW"`, `"A256GCM"`},
		{"another one than the file names", good.id, "other"},
		{"too short", key, key[4:]},
		{"too long", key, "AAAA" + key},
		{"no base64url", key, "=" + key[1:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Contains(t, jwk, tt.old)
			_, err := unlock(lock(strings.Replace(jwk, tt.old, tt.new, 1)), secret)
			require.ErrorIs(t, err, provider.ErrTampered)
		})
	}
	again, err := unlock(lock(jwk), secret)
	require.NoError(t, err)
	require.Equal(t, good.key.Expose(), again.key.Expose())
}

// A write that a Close overtakes stores no key without its private half.
func TestAWipedVaultDoesNothing(t *testing.T) {
	key, err := provider.KeyMaterial{Private: provider.NewSecret(make([]byte, 32))}.Parse(provider.AES256GCM, 0)
	require.NoError(t, err)
	rec := &record{KID: "k", Version: 1, Alg: provider.AES256GCM, Bits: 256}
	v := newVault()
	rec.Private, err = v.seal(rec, key)
	require.NoError(t, err)
	v.wipe()
	text, err := v.seal(rec, key)
	require.ErrorIs(t, err, provider.ErrClosed)
	require.Empty(t, text)
	require.ErrorIs(t, second(v.open(&version{rec: rec})), provider.ErrClosed)
	file, err := v.lock(provider.NewSecret([]byte("open sesame")), quickly)
	require.ErrorIs(t, err, provider.ErrClosed)
	require.Empty(t, file)
}

func TestARecordOfAnotherStore(t *testing.T) {
	dir, otherDir := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, otherDir} {
		require.NoError(t, second(opened(t, d).CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys/k/1.json"), []byte(read(t, otherDir, "keys/k/1.json")), 0o600))
	_, err := opened(t, dir).Signer(t.Context(), "k", 0)
	require.ErrorIs(t, err, provider.ErrTampered)
	require.ErrorContains(t, err, "encrypted under another store key")
}

func TestTwoOpenANewStoreAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	stores := make(chan *Store, 4)
	for range cap(stores) {
		go func() {
			s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, nil, quickly)
			if err != nil {
				t.Error(err)
			}
			stores <- s
		}()
	}
	ids := map[string]bool{}
	for range cap(stores) {
		s := <-stores
		require.NotNil(t, s)
		ids[s.vault.id] = true
		require.NoError(t, s.Close())
	}
	require.Len(t, ids, 1, "one store key")
}
