package mirror

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// forger is a token of the attacker's, with a manifest key of its own.
type forger struct {
	*scene
	signer provider.Signer
}

func (s *scene) forger() *forger {
	s.t.Helper()
	return &forger{s, manifestSigner(s.t)}
}

// manifestSigner returns the signer of a new manifest key.
func manifestSigner(t testing.TB) provider.Signer {
	t.Helper()
	f := providertest.NewFake(t)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	_, err := f.CreateKey(t.Context(), provider.KeySpec{KID: ManifestKID, Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	s, err := f.Signer(t.Context(), ManifestKID, 1)
	require.NoError(t, err)
	return s
}

func thumbprintOf(t testing.TB, s provider.Signer) string {
	t.Helper()
	thumbprint, err := provider.Thumbprint(s.Public())
	require.NoError(t, err)
	return thumbprint
}

// manifest returns the manifest that could come next, but for the key that signs it: it has the mirror's name, the generation
// after, and what stood in the one before, with another key in the place of b.1.
func (f *forger) manifest(links ...string) string {
	f.t.Helper()
	was := f.readManifest()
	now := time.Now().UTC().Truncate(time.Second)
	m := &manifest{
		mirror: was.mirror, generation: was.generation + 1, issued: now, expires: now.Add(time.Hour), previous: was.hash,
		succession: links, ledger: was.ledger.clone(), key: thumbprintOf(f.t, f.signer), keyVersion: 1,
	}
	k := f.evilKey("b")
	e, _ := m.ledger.get(Version{"b", 1})
	e.Fingerprint, e.details, e.jwk = k.Thumbprint(), detailsOf(k.Ref()), k.JSON()
	m.ledger.set(Version{"b", 1}, e)
	var payload bytes.Buffer
	require.NoError(f.t, m.encode(&payload))
	text, _, err := sealJWS(f.t.Context(), f.signer, manifestType, payload.Bytes(), nil)
	require.NoError(f.t, err)
	return string(text)
}

// link returns a statement, signed with the attacker's key, that the key by is followed by the attacker's.
func (f *forger) link(by string) string {
	f.t.Helper()
	return sealLink(f.t, f.signer, by, thumbprintOf(f.t, f.signer))
}

func sealLink(t testing.TB, by provider.Signer, issuer, successor string) string {
	t.Helper()
	payload, err := json.Marshal(succession{issuerPrefix + issuer, issuerPrefix + successor})
	require.NoError(t, err)
	link, _, err := sealJWS(t.Context(), by, successionType, payload, nil)
	require.NoError(t, err)
	return string(link)
}

// A manifest that lacks nothing but the signature of the pinned key is refused, by a reader who has seen one before, and by
// one who knows the pin alone: there no memory of another mirror or of a generation helps.
func TestOnlyThePinnedKeysWordCounts(t *testing.T) {
	tests := []struct {
		name     string
		manifest func(f *forger) string
	}{
		{"signed by another key", func(f *forger) string { return f.manifest() }},
		{"which says itself that it follows", func(f *forger) string { return f.manifest(f.link(f.pin)) }},
		{"which signed over to itself", func(f *forger) string { return f.manifest(f.link(thumbprintOf(f.t, f.signer))) }},
		{"whose link bears the pinned key over a signature of its own", func(f *forger) string {
			parts := strings.Split(f.link(f.pin), ".")
			manifest := strings.Split(f.readFile(f.path(manifestPath)), ".")
			head, err := base64.RawURLEncoding.DecodeString(manifest[0])
			require.NoError(f.t, err)
			parts[0] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(head), manifestType, successionType, 1)))
			return f.manifest(strings.Join(parts, "."))
		}},
		{"with a manifest of the pinned key for a link", func(f *forger) string { return f.manifest(f.readFile(f.path(manifestPath))) }},
		{"with no JWS for a link", func(f *forger) string { return f.manifest("x") }},
		{"which the pinned key did not sign over to, but to another", func(f *forger) string {
			_, err := f.primary.RotateKey(f.t.Context(), ManifestKID, provider.Rotation{Windows: &provider.Windows{}})
			require.NoError(f.t, err)
			f.rewrite()
			return f.manifest(f.readManifest().succession...)
		}},
		{"the other token's own, whole", func(f *forger) string {
			other := f.other()
			f.copyFrom(other.dir, "mirror", "keystore")
			return f.readFile(f.path(manifestPath))
		}},
	}
	for _, tt := range tests {
		for _, memory := range []string{"with a memory", "without a memory"} {
			t.Run(tt.name+", "+memory, func(t *testing.T) {
				s := newScene(t)
				text := tt.manifest(s.forger())
				s.put(manifestPath, text)
				s.put("keystore/keys/b/1.json", s.evilRecord("b"))
				if memory == "without a memory" {
					s.own = filepath.Join(tempDir(t), "new")
				}
				kids, err := s.innocent(s.read(Config{}))
				require.ErrorIs(t, err, provider.ErrTampered)
				require.Empty(t, kids)
			})
		}
	}
}

func TestSuccession(t *testing.T) {
	signers := map[string]provider.Signer{}
	keys := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		signers[name] = manifestSigner(t)
		keys[name] = thumbprintOf(t, signers[name])
	}
	link := func(by, to string) string { return sealLink(t, signers[by], keys[by], keys[to]) }
	tests := []struct {
		name  string
		links []string
		from  string
		to    string
		want  error
	}{
		{"a key needs no link to itself", nil, "a", "a", nil},
		{"one link", []string{link("a", "b")}, "a", "b", nil},
		{"two links", []string{link("a", "b"), link("b", "c")}, "a", "c", nil},
		{"links from before are passed over", []string{link("a", "b"), link("b", "c")}, "b", "c", nil},
		{"links to come are left out", []string{link("a", "b"), link("b", "c")}, "a", "b", nil},
		{"no link", nil, "a", "b", provider.ErrTampered},
		{"a gap", []string{link("b", "c")}, "a", "c", provider.ErrTampered},
		{"links in the wrong order", []string{link("b", "c"), link("a", "b")}, "a", "c", provider.ErrTampered},
		{"a link the other way round", []string{link("b", "a")}, "a", "b", provider.ErrTampered},
		{"a link that names another issuer", []string{sealLink(t, signers["a"], keys["c"], keys["b"])}, "a", "b", provider.ErrTampered},
		{"a link that names no successor", []string{sealLink(t, signers["a"], keys["a"], "")}, "a", "b", provider.ErrTampered},
		{"a link that is none", []string{"x", link("a", "b")}, "a", "b", provider.ErrTampered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorIs(t, follow(tt.links, keys[tt.from], keys[tt.to]), tt.want)
		})
	}
	over, err := signOver(t.Context(), signers["a"], keys["b"])
	require.NoError(t, err)
	require.NoError(t, follow([]string{over}, keys["a"], keys["b"]))
}

// A signature alone makes no manifest.
func TestSignedClaimsThatAreRefused(t *testing.T) {
	signer := manifestSigner(t)
	key := thumbprintOf(t, signer)
	whole := func() map[string]any {
		return map[string]any{
			"iss": issuerPrefix + key, "sub": mirrorPrefix + "m", "iat": 1000, "exp": 2000, "generation": 1,
			"keys":     []any{map[string]any{"kid": "k.1"}},
			"versions": map[string]any{"k": map[string]any{"1": map[string]any{"fingerprint": strings.Repeat("A", 43)}}},
		}
	}
	entries := func(kid, version string, e map[string]any) func(map[string]any) {
		return func(c map[string]any) {
			c["keys"], c["versions"] = []any{}, map[string]any{kid: map[string]any{version: e}}
		}
	}
	published := func(keys ...any) func(map[string]any) { return func(c map[string]any) { c["keys"] = keys } }
	long := "2026-01-02T03:04:05Z"
	tests := []struct {
		name string
		edit func(c map[string]any)
		want error
	}{
		{"whole", func(map[string]any) {}, nil},
		{"another issuer", func(c map[string]any) { c["iss"] = issuerPrefix + strings.Repeat("A", 43) }, provider.ErrTampered},
		{"a subject that is no mirror", func(c map[string]any) { c["sub"] = "m" }, provider.ErrTampered},
		{"expired at its issue", func(c map[string]any) { c["exp"] = 1000 }, provider.ErrTampered},
		{"no generation", func(c map[string]any) { delete(c, "generation") }, provider.ErrTampered},
		{"a claim of the wrong type", func(c map[string]any) { c["generation"] = "1" }, provider.ErrTampered},
		{"a key that is not among the versions", published(map[string]any{"kid": "k.2"}), provider.ErrTampered},
		{"a key without a kid", published(map[string]any{}), provider.ErrTampered},
		{"a key that is no object", published("k.1"), provider.ErrTampered},
		{"a kid that is none", entries("../k", "1", map[string]any{}), provider.ErrTampered},
		{"version 0", entries("k", "0", map[string]any{}), provider.ErrTampered},
		{"a fingerprint that is none", entries("k", "1", map[string]any{"fingerprint": "AAAA"}), provider.ErrTampered},
		{"a fingerprint with other characters", entries("k", "1", map[string]any{"fingerprint": strings.Repeat("A", 42) + "="}), provider.ErrTampered},
		{"a conflict that is no fingerprint", entries("k", "1", map[string]any{"conflict": "AAAA"}), provider.ErrTampered},
		{"a copy left of what was not destroyed", entries("k", "1", map[string]any{"copy_left": true}), provider.ErrTampered},
		{"destroyed and being destroyed", entries("k", "1", map[string]any{"destroyed": long, "destroying": map[string]any{"owner": "x"}}), provider.ErrTampered},
		{"a copy under a kid that is none", entries("k", "1", map[string]any{"copy": map[string]any{"kid": "", "version": 1}}), provider.ErrTampered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := whole()
			tt.edit(c)
			payload, err := json.Marshal(c)
			require.NoError(t, err)
			text, _, err := sealJWS(t.Context(), signer, manifestType, payload, nil)
			require.NoError(t, err)
			m, err := readManifest(text, key)
			require.ErrorIs(t, err, tt.want)
			if tt.want == nil {
				require.Equal(t, []string{"k"}, slices.Collect(maps.Keys(m.ledger.keys)))
			}
		})
	}
}

// A header that asks for more than is known here, or that names another key than a manifest's, is refused whoever signed.
func TestHeadersThatAreRefused(t *testing.T) {
	signer := manifestSigner(t)
	k, err := provider.NewJWK(signer.KeyRef(), signer.Public())
	require.NoError(t, err)
	text, _, err := sealJWS(t.Context(), signer, manifestType, []byte("{}"), nil)
	require.NoError(t, err)
	for name, edit := range map[string]func(h *header){
		"nothing is changed":              func(*header) {},
		"critical extensions":             func(h *header) { h.Crit = []string{"exp"} },
		"a key of the service":            func(h *header) { h.KID = "payments.1" },
		"a kid without a version":         func(h *header) { h.KID = ManifestKID },
		"no algorithm":                    func(h *header) { h.Alg = "none" },
		"an algorithm of another key":     func(h *header) { h.Alg = "ES384" },
		"a symmetric algorithm":           func(h *header) { h.Alg = "HS256" },
		"an algorithm that signs nothing": func(h *header) { h.Alg = "ECDH-ES" },
		"no key":                          func(h *header) { h.JWK = nil },
		"a symmetric key":                 func(h *header) { h.JWK = json.RawMessage(`{"kty":"oct","k":"AAAA"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			h := header{Type: manifestType, Alg: signer.KeyRef().Alg.JWA(), KID: signer.KeyRef().JWKKID(), JWK: k.JSON()}
			edit(&h)
			_, _, payload, err := openJWS([]byte(sealHeader(t, signer, h, "{}")), manifestType)
			if name == "nothing is changed" {
				require.NoError(t, err)
				require.Equal(t, "{}", string(payload))
				return
			}
			require.ErrorIs(t, err, provider.ErrTampered)
		})
	}
	for _, bad := range []string{"", ".", "..", strings.Replace(string(text), ".", "", 1), "?" + string(text), string(text) + ".x"} {
		_, _, _, err := openJWS([]byte(bad), manifestType)
		require.ErrorIs(t, err, provider.ErrTampered, "%.20q", bad)
	}
}

// sealHeader signs a payload under a header of any content.
func sealHeader(t *testing.T, s provider.Signer, h any, payload string) string {
	t.Helper()
	head, err := json.Marshal(h)
	require.NoError(t, err)
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	alg := s.KeyRef().Alg
	signature, err := s.SignContext(t.Context(), alg.Digest([]byte(text)), alg.SignerOpts())
	require.NoError(t, err)
	signature, err = rawSignature(s.KeyRef(), signature)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
