package providertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testBadInput(t *testing.T) {
	t.Run("a kid that is none", s.testBadKIDs)
	t.Run("create", s.testBadSpecs)
	t.Run("import", s.testBadMaterial)
}

// badKIDs breaks the rule of kids in every way, and tries to leave a directory.
var badKIDs = map[string]string{
	"of 129 bytes":            strings.Repeat("k", provider.MaxKID+1),
	"of a dot":                ".",
	"of two dots":             "..",
	"with a dot at its start": ".x",
	"with a slash":            "a/b",
	"out of the directory":    "../../b/keys/x",
	"absolute":                "/etc/passwd",
	"with a backslash":        `a\b`,
	"with a NUL":              "a\x00b",
	"with a NUL at its end":   "a\x00",
	"with a line end":         "a\n",
	"with a space":            "a b",
	"with a letter like a":    "аbc", // Cyrillic
	"of no UTF-8":             "a\xff",
	"with a colon":            "a:b",
	"with a percent sign":     "a%2e",
}

func (s *suite) testBadKIDs(t *testing.T) {
	alg := s.quick(t)
	m := newOutsider(t, alg).publicMaterial(t)
	for name, kid := range badKIDs {
		t.Run(name, func(t *testing.T) {
			calls := s.kidCalls(kid)
			calls["CreateKey"] = func(t *testing.T) error {
				_, err := s.p.CreateKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg})
				return err
			}
			calls["ImportKey"] = func(t *testing.T) error {
				_, err := s.p.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: alg}, m)
				return err
			}
			for method, call := range calls {
				require.ErrorIs(t, call(t), provider.ErrInvalid, method)
			}
			keys, err := s.p.ListKeys(t.Context())
			require.NoError(t, err)
			require.Empty(t, listed(keys, kid))
		})
	}
	t.Run("empty", func(t *testing.T) { // which in a KeySpec asks for a random one
		for method, call := range s.kidCalls("") {
			require.ErrorIs(t, call(t), provider.ErrInvalid, "%s; the original's defect F05: destroying it deleted the whole store", method)
		}
	})
}

// kidCalls returns a call of every method that takes a kid by itself.
func (s *suite) kidCalls(kid string) map[string]func(t *testing.T) error {
	calls := map[string]func(t *testing.T) error{
		"RotateKey": func(t *testing.T) error {
			_, err := s.p.RotateKey(t.Context(), kid, provider.Rotation{})
			return err
		},
		"DestroyKey": func(t *testing.T) error { _, err := s.p.DestroyKey(t.Context(), kid, 1); return err },
		"DestroyKey, all": func(t *testing.T) error {
			_, err := s.p.DestroyKey(t.Context(), kid, provider.AllVersions)
			return err
		},
		"GetKey":       func(t *testing.T) error { _, err := s.p.GetKey(t.Context(), kid, 0); return err },
		"ListVersions": func(t *testing.T) error { _, err := s.p.ListVersions(t.Context(), kid); return err },
		"PublicJWK":    func(t *testing.T) error { _, err := s.p.PublicJWK(t.Context(), kid, 0); return err },
	}
	if p, ok := s.p.(provider.Exporting); ok {
		calls["ExportKey"] = func(t *testing.T) error { _, err := p.ExportKey(t.Context(), kid, 0); return err }
	}
	for _, method := range []string{"Signer", "Decrypter", "AEAD", "MAC", "ECDH"} {
		calls[method] = func(t *testing.T) error {
			err, ok := s.useErrors(t, provider.KeyRef{KID: kid})[method]
			if !ok {
				return provider.ErrInvalid // a method that the store does not have
			}
			return err
		}
	}
	return calls
}

func (s *suite) testBadSpecs(t *testing.T) {
	long := strings.Repeat("x", max(provider.MaxLabel, provider.MaxTagValue)+1)
	tests := []struct {
		name string
		spec provider.KeySpec
	}{
		{"no algorithm", provider.KeySpec{}},
		{"an unknown algorithm", provider.KeySpec{Alg: "DSA_SHA1"}},
		{"a JWA name for an algorithm", provider.KeySpec{Alg: "ES256"}},
		{"RSA of 1024 bits", provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: 1024}},
		{"RSA of 2049 bits", provider.KeySpec{Alg: provider.RSAPKCS1SHA256, Bits: 2049}},
		{"RSA of 2047 bits", provider.KeySpec{Alg: provider.RSAOAEPSHA256, Bits: 2047}},
		{"RSA of 8192 bits", provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: 8192}},
		{"RSA of a negative size", provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: -2048}},
		{"Ed25519 of 512 bits", provider.KeySpec{Alg: provider.Ed25519, Bits: 512}},
		{"P-256 of 384 bits", provider.KeySpec{Alg: provider.ECDSAP256SHA256, Bits: 384}},
		{"AES of 128 bits", provider.KeySpec{Alg: provider.AES256GCM, Bits: 128}},
		{"HMAC of 128 bits", provider.KeySpec{Alg: provider.HMACSHA256, Bits: 128}},
		{"HMAC of 257 bits", provider.KeySpec{Alg: provider.HMACSHA256, Bits: 257}},
		{"a use that the algorithm does not have", provider.KeySpec{Alg: provider.Ed25519, Uses: []provider.KeyUse{provider.UseEncrypt}}},
		{"a use that it has and one that it has not", provider.KeySpec{Alg: provider.Ed25519, Uses: append(provider.Ed25519.Uses(), "admire")}},
		{"an unknown use", provider.KeySpec{Alg: provider.Ed25519, Uses: []provider.KeyUse{"admire"}}},
		{"an unknown policy", provider.KeySpec{Alg: provider.Ed25519, Export: "public-only"}},
		{"a label that is too long", provider.KeySpec{Alg: provider.Ed25519, Label: long}},
		{"a label that is no UTF-8", provider.KeySpec{Alg: provider.Ed25519, Label: "\xff"}},
		{"a tag without a name", provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{"": "x"}}},
		{"a tag that is too long", provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{"x": long}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.KID = s.kid(t)
			_, err := s.p.CreateKey(t.Context(), tt.spec)
			require.ErrorIs(t, err, provider.ErrInvalid)
			s.nothingUnder(t, tt.spec.KID)
			_, err = s.p.ImportKey(t.Context(), tt.spec, newOutsider(t, provider.Ed25519).material(t))
			require.ErrorIs(t, err, provider.ErrInvalid)
			s.nothingUnder(t, tt.spec.KID)
		})
	}
}

func (s *suite) testBadMaterial(t *testing.T) {
	for _, tt := range badMaterials(t) {
		t.Run(tt.name, func(t *testing.T) {
			kid := s.kid(t)
			_, err := s.p.ImportKey(t.Context(), provider.KeySpec{KID: kid, Alg: tt.alg}, tt.material)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.False(t, tracesOf(tt.material.Private.Expose()).in(err.Error()), "the error repeats the material: %v", err)
			s.nothingUnder(t, kid)
		})
	}
}

// badMaterial is a key that fits no spec of its algorithm.
type badMaterial struct {
	name     string
	alg      provider.KeyAlg
	material provider.KeyMaterial
}

func badMaterials(t *testing.T) []badMaterial {
	t.Helper()
	secret := func(b []byte) provider.KeyMaterial { return provider.KeyMaterial{Private: provider.NewSecret(b)} }
	ed, p256, x := newOutsider(t, provider.Ed25519), newOutsider(t, provider.ECDSAP256SHA256), newOutsider(t, provider.X25519)
	edDER := ed.forms(t)[0].der
	mixed, mixedTypes, surplus := ed.material(t), ed.material(t), secret(make([]byte, 32))
	mixed.Public = newOutsider(t, provider.Ed25519).publicMaterial(t).Public
	mixedTypes.Public = p256.publicMaterial(t).Public
	surplus.Public = mixed.Public
	privateAsPublic := provider.KeyMaterial{Public: toPEM("PRIVATE KEY", edDER)}
	return []badMaterial{
		{"no material", provider.Ed25519, provider.KeyMaterial{}},
		{"no material for a symmetric key", provider.AES256GCM, provider.KeyMaterial{}},
		{"an Ed25519 key for P-256", provider.ECDSAP256SHA256, ed.material(t)},
		{"a P-256 key for P-384", provider.ECDSAP384SHA384, p256.material(t)},
		{"a P-256 key for RSA", provider.RSAPSSSHA256, p256.material(t)},
		{"an X25519 key for Ed25519", provider.Ed25519, x.material(t)},
		{"a P-224 key for P-256", provider.ECDSAP256SHA256, p224(t)},
		{"a public P-256 key for Ed25519", provider.Ed25519, p256.publicMaterial(t)},
		{"a public Ed25519 key for X25519", provider.X25519, ed.publicMaterial(t)},
		{"halves that do not belong together", provider.Ed25519, mixed},
		{"halves of different types", provider.Ed25519, mixedTypes},
		{"a private key in place of the public one", provider.Ed25519, privateAsPublic},
		{"a private key in DER in place of the public one", provider.Ed25519, provider.KeyMaterial{Public: edDER}},
		{"a public key in place of the private one", provider.Ed25519, secret(ed.publicMaterial(t).Public)},
		{"truncated DER", provider.Ed25519, secret(edDER[:len(edDER)-1])},
		{"truncated PEM", provider.Ed25519, secret(toPEM("PRIVATE KEY", edDER)[:60])},
		{"PEM around garbage", provider.Ed25519, secret(toPEM("PRIVATE KEY", []byte("correct horse battery staple")))},
		{"a password in place of a key", provider.ECDSAP256SHA256, secret([]byte("correct horse battery staple"))},
		{"truncated public DER", provider.Ed25519, provider.KeyMaterial{Public: ed.publicMaterial(t).Public[:20]}},
		{"garbage in place of the public key", provider.X25519, provider.KeyMaterial{Public: []byte("garbage")}},
		{"RSA of 1024 bits", provider.RSAPSSSHA256, smallRSA(t)},
		{"AES of 1 byte", provider.AES256GCM, secret([]byte{0x42})},
		{"AES of 16 bytes", provider.AES256GCM, secret(make([]byte, 16))},
		{"AES of 33 bytes", provider.AES256GCM, secret(make([]byte, 33))},
		{"HMAC of 31 bytes", provider.HMACSHA256, secret(make([]byte, 31))},
		{"HMAC of 513 bytes", provider.HMACSHA256, secret(make([]byte, 513))},
		{"a public key for AES", provider.AES256GCM, ed.publicMaterial(t)},
		{"a public key beside an AES key", provider.AES256GCM, surplus},
	}
}

func p224(t *testing.T) provider.KeyMaterial {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	m, err := provider.Material(k)
	require.NoError(t, err)
	return m
}

// smallRSA is an RSA key of 1024 bits, too small for the contract.
func smallRSA(t *testing.T) provider.KeyMaterial {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	return provider.KeyMaterial{Private: provider.NewSecret(x509.MarshalPKCS1PrivateKey(k))}
}
