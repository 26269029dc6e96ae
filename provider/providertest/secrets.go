package providertest

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// testSecrets imports keys whose private bytes it knows, and looks for these bytes in everything that can be printed.
func (s *suite) testSecrets(t *testing.T) {
	for _, alg := range s.algs(imports) {
		t.Run(string(alg)+" shows in nothing that is printed", func(t *testing.T) {
			o := newOutsider(t, alg)
			parts := map[string]traces{}
			for part, secret := range o.secrets(t) {
				parts[part] = tracesOf(secret)
			}
			for name, value := range s.everythingAbout(t, o) {
				for how, text := range prints(value) {
					for part, traces := range parts {
						require.False(t, traces.in(text), "%s shows in %s printed as %s", part, name, how)
					}
				}
			}
		})
	}
}

// everythingAbout imports o and returns all that the store and the contract's types say about it.
func (s *suite) everythingAbout(t *testing.T, o outsider) map[string]any {
	t.Helper()
	m := o.material(t)
	ref := s.importing(t, provider.KeySpec{Alg: o.alg, Export: provider.ExportSecretWhenAllowed}, m)
	_, taken := s.p.ImportKey(t.Context(), provider.KeySpec{KID: ref.KID, Alg: o.alg}, m)
	require.ErrorIs(t, taken, provider.ErrExists)
	wrongAlg := provider.Ed25519
	if o.alg == wrongAlg {
		wrongAlg = provider.X25519
	}
	_, misfit := s.p.ImportKey(t.Context(), provider.KeySpec{KID: s.kid(t), Alg: wrongAlg}, m)
	require.ErrorIs(t, misfit, provider.ErrInvalid)
	list, err := s.p.ListVersions(t.Context(), ref.KID)
	require.NoError(t, err)
	set, err := s.p.JWKS(t.Context(), ref.KID)
	require.NoError(t, err)
	all := map[string]any{
		"KeyRef": ref, "KeyMaterial": m, "&KeyMaterial": &m, "KeyList": list, "JWKSet": set, "ErrExists": taken, "ErrInvalid": misfit,
	}
	if o.public != nil {
		jwk, err := s.p.PublicJWK(t.Context(), ref.KID, 1)
		require.NoError(t, err)
		all["JWK"], all["JWK's JSON"] = jwk, jwk.JSON()
		parsed, err := jwk.Key()
		require.NoError(t, err)
		all["jwx key"] = parsed
	}
	if s.caps.Alg(o.alg).Use {
		s.addObjects(t, ref, all)
	}
	if p, ok := s.p.(provider.Exporting); ok && s.caps.Has(provider.FeatureExport) {
		secret, err := p.ExportKey(t.Context(), ref.KID, 1)
		require.NoError(t, err)
		all["exported Secret"] = secret
	}
	return all
}

func (s *suite) addObjects(t *testing.T, ref provider.KeyRef, all map[string]any) {
	t.Helper()
	switch {
	case ref.Alg.Signs():
		signer := s.signer(t, ref)
		_, err := signer.Sign(nil, []byte("short"), crypto.SHA256)
		require.ErrorIs(t, err, provider.ErrInvalid)
		all["Signer"], all["Sign's error"] = signer, err
	case ref.Alg == provider.RSAOAEPSHA256:
		d := s.decrypter(t, ref)
		_, err := d.Decrypt(nil, []byte("short"), nil)
		require.ErrorIs(t, err, provider.ErrInvalid)
		all["Decrypter"], all["Decrypt's error"] = d, err
	case ref.Alg == provider.AES256GCM:
		a := s.aead(t, ref)
		_, err := a.Decrypt(t.Context(), make([]byte, 64), nil)
		require.ErrorIs(t, err, provider.ErrInvalid)
		all["AEAD"], all["AEAD's error"] = a, err
	case ref.Alg == provider.HMACSHA256:
		m := s.mac(t, ref)
		all["MAC"], all["MAC's error"] = m, m.Verify(t.Context(), nil, nil)
	}
}

// secrets returns the parts of the key that nobody may see.
func (o outsider) secrets(t *testing.T) map[string][]byte {
	t.Helper()
	parts := map[string][]byte{}
	switch k := o.private.(type) {
	case nil:
		parts["the key"] = o.symmetric
		return parts
	case *rsa.PrivateKey:
		parts["d"], parts["p"], parts["q"] = k.D.Bytes(), k.Primes[0].Bytes(), k.Primes[1].Bytes()
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		require.NoError(t, err)
		parts["d"] = d
	case ed25519.PrivateKey:
		parts["the seed"] = k.Seed()
	case *ecdh.PrivateKey:
		parts["the scalar"] = k.Bytes()
	}
	return parts
}

// prints returns value in every form in which it could reach a log or a file, by the name of the form.
func prints(value any) map[string]string {
	forms := map[string]string{}
	wrapped := struct {
		Exported   any
		unexported any
	}{value, value}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b"} {
		forms[verb] = fmt.Sprintf(verb, value)
		forms[verb+" in a slice"] = fmt.Sprintf(verb, []any{value})
		if verb[len(verb)-1] != 'v' && operates(value) {
			continue // into an unexported field fmt goes by itself, and a store at work changes meanwhile
		}
		forms[verb+" in a struct"] = fmt.Sprintf(verb, wrapped)
	}
	var text, jsonText, binary bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	slog.New(slog.NewTextHandler(&text, options)).Debug("m", "k", value, slog.Group("g", "k", wrapped))
	slog.New(slog.NewJSONHandler(&jsonText, options)).Debug("m", "k", value, slog.Group("g", "k", wrapped))
	forms["slog text"], forms["slog JSON"] = text.String(), jsonText.String()
	if b, err := json.Marshal(wrapped); err == nil { // not everything has a JSON form
		forms["JSON"] = string(b)
	}
	if err := gob.NewEncoder(&binary).Encode(value); err == nil { // nor one in gob
		forms["gob"] = binary.String()
	}
	return forms
}

// operates tells whether value is an object of a store.
func operates(value any) bool {
	switch value.(type) {
	case provider.Signer, provider.Decrypter, provider.AEAD, provider.MAC:
		return true
	}
	return false
}
