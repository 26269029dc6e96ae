package mirror

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// strangerVerifies is a verifier written from docs/manifest.md with the standard library alone, for a manifest signed with
// ES256. It returns the published keys by kid.
func strangerVerifies(manifest, pin string, now time.Time) (map[string]json.RawMessage, error) {
	parts := strings.Split(manifest, ".")
	if len(parts) != 3 {
		return nil, errors.New("no compact JWS")
	}
	decoded := make([][]byte, 3)
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return nil, err
		}
	}
	var header struct {
		Typ, Alg string
		JWK      struct{ Kty, Crv, X, Y string }
	}
	if err := json.Unmarshal(decoded[0], &header); err != nil || header.Typ != "jwk-set+jwt" || header.Alg != "ES256" {
		return nil, errors.New("no manifest")
	}
	// RFC 7638: the thumbprint of the key that signs is the pin.
	k := header.JWK
	thumbprint := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Crv, k.Kty, k.X, k.Y))
	if base64.RawURLEncoding.EncodeToString(thumbprint[:]) != pin {
		return nil, errors.New("signed by another key")
	}
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return nil, errors.New("no P-256 key")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if s := decoded[2]; len(s) != 64 || !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:])) {
		return nil, errors.New("bad signature")
	}
	var claims struct {
		Exp  int64
		Keys []json.RawMessage
	}
	if err := json.Unmarshal(decoded[1], &claims); err != nil || now.Unix() >= claims.Exp {
		return nil, errors.New("expired")
	}
	keys := map[string]json.RawMessage{}
	for _, raw := range claims.Keys {
		var member struct{ KID string }
		if err := json.Unmarshal(raw, &member); err != nil {
			return nil, err
		}
		keys[member.KID] = raw
	}
	return keys, nil
}

func TestAStrangerVerifiesTheManifest(t *testing.T) {
	s := newScene(t)
	text := s.readFile(s.path(manifestPath))
	keys, err := strangerVerifies(text, s.pin, time.Now())
	require.NoError(t, err)
	require.Len(t, keys, len(s.good))
	for kid, k := range s.good {
		require.Equal(t, k, string(keys[kid]))
	}
	_, err = strangerVerifies(text, s.other().pin, time.Now())
	require.Error(t, err)
	_, err = strangerVerifies(text, s.pin, time.Now().Add(DefaultRefuseAfter))
	require.Error(t, err)
	_, err = strangerVerifies(s.reclaim(func(c map[string]any) { c["exp"] = 1e12 }), s.pin, time.Now())
	require.Error(t, err)
}

// As a JOSE library sees it that knows nothing of mirrors: a JWS whose payload is a JWK Set.
func TestTheManifestIsASignedJWKSet(t *testing.T) {
	s := newScene(t)
	text := []byte(s.readFile(s.path(manifestPath)))
	message, err := jws.Parse(text)
	require.NoError(t, err)
	header := message.Signatures()[0].ProtectedHeaders()
	thumbprint, err := header.JWK().Thumbprint(crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, s.pin, base64.RawURLEncoding.EncodeToString(thumbprint))
	payload, err := jws.Verify(text, jws.WithKey(header.Algorithm(), header.JWK()))
	require.NoError(t, err)
	set, err := jwk.Parse(payload)
	require.NoError(t, err)
	require.Equal(t, len(s.good), set.Len())
}

// Each manifest names the one before, and its generation grows, whichever process had it signed.
func TestGenerationsGrow(t *testing.T) {
	r := newRig(t, Config{})
	path := filepath.Join(r.cfg.ManifestDir, manifestName)
	var before *manifest
	for i := range 4 {
		r.create(provider.KeySpec{})
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		m, err := readManifest(data, "")
		require.NoError(t, err)
		if before != nil {
			require.Greater(t, m.generation, before.generation)
			if m.generation == before.generation+1 {
				require.Equal(t, before.hash, m.previous)
			}
			require.Equal(t, before.mirror, m.mirror)
		}
		require.Len(t, slices.Collect(m.ledger.published(m.issued)), i+1, "no key is left out of the set, after a restart either")
		before = m
		if i == 1 {
			r = r.restart()
		}
	}
}

// A manifest key that was rotated on the token signs over to the next, so that readers with the first pin go on.
func TestManifestKeyIsRotated(t *testing.T) {
	s := newScene(t)
	_, err := s.primary.RotateKey(t.Context(), ManifestKID, provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(t, err)
	first := s.readManifest()
	s.rewrite()
	second := s.readManifest()
	require.NotEqual(t, first.key, second.key)
	require.Len(t, second.succession, 1)
	kids, err := s.innocent(s.read(Config{}))
	require.NoError(t, err)
	require.Len(t, kids, 3)

	t.Run("the new pin works too", func(t *testing.T) {
		s := *s
		s.t, s.pin, s.own = t, second.key, tempDir(t)
		_, err := s.innocent(s.read(Config{}))
		require.NoError(t, err)
	})
	t.Run("the old key's word no longer counts", func(t *testing.T) {
		s := *s
		s.t = t
		s.put(manifestPath, s.readFile(filepath.Join(s.old, manifestPath)))
		_, err := s.innocent(s.read(Config{}))
		require.ErrorIs(t, err, provider.ErrTampered)
	})
	t.Run("a key that nobody signed over to is refused", func(t *testing.T) {
		s := *s
		other := newScene(t)
		s.t, s.dir = t, other.dir
		_, err := s.innocent(s.read(Config{}))
		require.ErrorIs(t, err, provider.ErrTampered)
	})
}

// rewrite has a new manifest signed, as the pass of a writing process does.
func (s *scene) rewrite() {
	s.t.Helper()
	s.primary.Plug()
	m, err := New(s.primary.Reopen(), storeIn(s.t, s.dir), Config{ManifestDir: s.path("mirror"), StateDir: s.own})
	require.NoError(s.t, err)
	defer m.Close()
	r, err := m.Reconcile(s.t.Context())
	require.NoError(s.t, err)
	require.NoError(s.t, r.Unsigned)
}

// A writer has nothing signed that stood in the files only.
func TestWhatNobodyVouchedForIsNotSigned(t *testing.T) {
	for name, attack := range map[string]func(*scene){
		"an entry in the state":       func(s *scene) { s.put(statePath, s.vouching("evil")) },
		"a manifest of another token": func(s *scene) { s.copyFrom(s.other().dir, "mirror", "keystore") },
		"a record without any entry":  func(s *scene) {},
		"a state without any manifest": func(s *scene) {
			s.put(statePath, strings.Replace(s.vouching("evil"), `"generation":`+itoa(s.readManifest().generation), `"generation":0`, 1))
			require.NoError(s.t, os.Remove(s.path(manifestPath)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			attack(s)
			s.put("keystore/keys/evil/1.json", s.evilRecord("evil"))
			s.own = filepath.Join(tempDir(t), "new") // the writer remembers nothing either
			s.rewrite()
			m := s.readManifest()
			require.Equal(t, s.pin, m.key)
			for v, e := range m.ledger.all() {
				k, good := s.good[v.String()]
				require.True(t, !e.Destroyed.IsZero() || good, "%s is signed", v)
				if good && e.Destroyed.IsZero() {
					own, err := s.primary.PublicJWK(t.Context(), v.KID, v.Version)
					require.NoError(t, err)
					if e.Fingerprint == own.Thumbprint() {
						require.Equal(t, k, string(e.jwk))
					} else {
						require.Equal(t, own.Thumbprint(), e.Conflict, "%s: it is signed as one that is not served", v)
						require.Nil(t, e.jwk)
					}
				}
			}
			require.NotContains(t, m.ledger.keys, "evil")
		})
	}
}

// A primary that can't sign leaves the mirror unauthenticated, and the mirror says so.
func TestPrimaryThatCannotSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		require.NoError(t, r.Close())
		m, err := New(r.primary.Reopen().Plain(), r.secondary.Reopen(), r.cfg)
		require.NoError(t, err)
		defer m.Close()
		ref, err := m.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
		require.NoError(t, err)
		require.True(t, ref.Mirroring.Mirrored, "the mirror has what it can have")
		require.ErrorIs(t, m.Status().Manifest.Err, provider.ErrUnsupported)
		_, err = m.ManifestPin(t.Context())
		require.ErrorIs(t, err, provider.ErrUnsupported)
		r.primary.Unplug()
		k, err := m.PublicJWK(t.Context(), "k", 1)
		require.NoError(t, err)
		require.True(t, k.Provenance.Unauthenticated)
		r.primary.Plug()
	})
}

// A key that the primary made while it could not sign is not mirrored, until a later pass has it signed.
func TestSignatureFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "first"})
		synctest.Wait()
		r.primary.Refuse(provider.ErrUnavailable, "Sign", "Signer")
		ref, err := r.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
		require.NoError(t, err)
		require.False(t, ref.Mirroring.Mirrored)
		require.Contains(t, ref.Mirroring.Reason, "manifest not signed")
		require.Error(t, r.Status().Manifest.Err)
		r.primary.Refuse(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		e, _ := r.state.current().get(Version{"k", 1})
		require.True(t, e.signed)
		require.NoError(t, r.Status().Manifest.Err)
	})
}
