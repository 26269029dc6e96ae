package provider_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// The exact text of every error that this package makes. Whoever changes one reads it here as its reader will.
func TestErrorTexts(t *testing.T) {
	normalize := func(s provider.KeySpec) error { _, err := s.Normalize(); return err }
	rotate := func(r provider.Rotation) error {
		_, _, err := r.Normalize(provider.KeyRef{KID: "k", Alg: provider.Ed25519})
		return err
	}
	parse := func(alg provider.KeyAlg, bits int, m provider.KeyMaterial) error {
		_, err := m.Parse(alg, bits)
		return err
	}
	query := func(uri string) error { _, _, err := provider.ParseKeyQuery(uri); return err }
	hkdf := func(n int) error { _, err := provider.HKDFSHA256(nil, nil, nil, n); return err }
	newJWK := func(alg provider.KeyAlg) error {
		_, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, nil)
		return err
	}
	verify := func(alg provider.KeyAlg) error {
		key, err := provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, publicOf(privateKeys(t)[alg]))
		require.NoError(t, err)
		return key.Verify([]byte("m"), []byte("not a signature"))
	}
	rsaMaterial, err := provider.Material(rsaKey())
	require.NoError(t, err)
	mixed, err := provider.Material(privateKeys(t)[provider.Ed25519])
	require.NoError(t, err)
	other, err := provider.PublicMaterial(publicOf(privateKeys(t)[provider.Ed25519]))
	require.NoError(t, err)
	mixed.Public = other.Public
	algs := "[AES256_GCM HMAC_SHA256 ED25519 X25519 RSA_OAEP_SHA256 RSA_PSS_SHA256 RSA_PKCS1_SHA256 ECDSA_P256_SHA256 ECDSA_P384_SHA384 ECDSA_P521_SHA512]"

	tests := []struct {
		err  error
		want string
	}{
		{provider.NotFound("payments", 0), `key not found: "payments"`},
		{provider.NotFound("payments", 3), `key not found: "payments" version 3`},
		{provider.Exists("payments", 0), `key exists: "payments"`},
		{provider.Exists("payments", 3), `key exists: "payments" version 3`},
		{provider.Unsupportedf("token lacks %s", "CKM_EDDSA"), `not supported: token lacks CKM_EDDSA`},

		{provider.ValidateKID(""), `invalid: empty kid: want 1 to 128 of A-Z a-z 0-9 . _ -`},
		{provider.ValidateKID(strings.Repeat("k", 129)), `invalid: kid of 129 bytes: want at most 128`},
		{provider.ValidateKID("a\x00/"), `invalid: kid "a\x00/": want only A-Z a-z 0-9 . _ - and no dot at the start`},
		{provider.ValidateVersion(-1), `invalid: version -1: want 1 or more, or 0 for the latest`},

		{normalize(provider.KeySpec{Alg: "ROT13"}), `invalid: unknown algorithm "ROT13": want one of ` + algs},
		{normalize(provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: 1024}), `invalid: RSA_PSS_SHA256 key of 1024 bits: want 2048 to 4096 in steps of 8`},
		{normalize(provider.KeySpec{Alg: provider.Ed25519, Bits: 512}), `invalid: ED25519 key of 512 bits: want 0 or 256, the only size of this algorithm`},
		{normalize(provider.KeySpec{Alg: provider.Ed25519, Uses: []provider.KeyUse{"admire"}}), `invalid: use "admire" of a key for ED25519: want some of [sign verify]`},
		{normalize(provider.KeySpec{Alg: provider.Ed25519, Export: "always"}), `invalid: unknown export policy "always": want none, public_only or secret_when_allowed`},
		{normalize(provider.KeySpec{Alg: provider.Ed25519, Label: strings.Repeat("x", 257)}), `invalid: label of 257 bytes: want at most 256 bytes of UTF-8`},
		{normalize(provider.KeySpec{Alg: provider.Ed25519, Tags: tags(33)}), `invalid: 33 tags: want at most 32`},
		{normalize(provider.KeySpec{Alg: provider.Ed25519, Tags: map[string]string{"\xff": ""}}), `invalid: tag "?": want a key of 1 to 64 and a value of up to 256 bytes of UTF-8`},
		{rotate(provider.Rotation{Windows: &provider.Windows{PublishBefore: -1}}), `invalid: windows -1ns and 0s: want no negative duration`},

		{parse(provider.Ed25519, 0, provider.KeyMaterial{}), `invalid: no key material: want a private or a public key for ED25519`},
		{parse(provider.Ed25519, 0, secretMaterial([]byte(pin))), `invalid: private key of 21 bytes: want PKCS #8, PKCS #1 or SEC 1 in DER or PEM, not encrypted`},
		{parse(provider.Ed25519, 0, provider.KeyMaterial{Public: []byte(pin)}), `invalid: public key of 21 bytes: want SubjectPublicKeyInfo in DER or PEM`},
		{parse(provider.Ed25519, 0, provider.KeyMaterial{Public: []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")}), `invalid: PEM block in place of a public key: want PUBLIC KEY (SubjectPublicKeyInfo)`},
		{parse(provider.Ed25519, 0, mixed), `invalid: private and public key do not belong together`},
		{parse(provider.Ed25519, 0, rsaMaterial), `invalid: *rsa.PublicKey for ED25519: want a key of type OKP Ed25519`},
		{parse(provider.RSAPSSSHA256, 3072, rsaMaterial), `invalid: RSA_PSS_SHA256 key of 2048 bits: want 3072`},
		{parse(provider.AES256GCM, 0, secretMaterial([]byte(pin))), `invalid: AES256_GCM key of 21 bytes: want 32 to 32`},
		{parse(provider.AES256GCM, 0, other), `invalid: public key for AES256_GCM: want none, the algorithm is symmetric`},
		{secondError(provider.Material(pin)), `invalid: private key of type string: want a key of crypto/rsa, ecdsa, ed25519 or ecdh, and neither nil nor empty`},
		{secondError(provider.PublicMaterial(pin)), `invalid: public key of type string: want a key of crypto/rsa, ecdsa, ed25519 or ecdh, and neither nil nor empty`},
		{secondError(provider.CheckPublic(provider.ECDSAP256SHA256, &ecdsa.PublicKey{})), `invalid: *ecdsa.PublicKey for ECDSA_P256_SHA256: want a key of type EC P-256`},

		{newJWK(provider.AES256GCM), `not supported: public JWK of "k.1": a AES256_GCM key is symmetric and has no public half`},
		{verify(provider.Ed25519), `invalid: signature of 15 bytes is not one of key "k.1" over this message`},
		{verify(provider.X25519), `not supported: verify with "k.1": a X25519 key makes no signatures`},

		{provider.ValidateRandom(-1), `invalid: -1 random bytes: want 0 to 1048576`},
		{hkdf(8161), `invalid: HKDF output of 8161 bytes: want 0 to 8160`},
		{query("x:?kid=%zz"), `invalid: query of the store URI: want attribute=value pairs, percent-encoded`},
		{query("x:?kid=k&version=one"), `invalid: version "one" in the store URI: want a number of 1 or more, or 0 for the latest`},
	}
	for _, tt := range tests {
		require.EqualError(t, tt.err, tt.want)
		requireNoPIN(t, tt.err.Error(), "the unparsed secret")
	}
}

func secondError[T any](_ T, err error) error { return err }

func TestHelpersWrapTheirSentinel(t *testing.T) {
	cause := errors.New("cause")
	require.ErrorIs(t, provider.Invalidf("a: %w", cause), provider.ErrInvalid)
	require.ErrorIs(t, provider.Invalidf("a: %w", cause), cause)
	require.ErrorIs(t, provider.Unsupportedf("a: %w", cause), provider.ErrUnsupported)
	require.ErrorIs(t, provider.NotFound("k", 1), provider.ErrNotFound)
	require.ErrorIs(t, provider.Exists("k", 1), provider.ErrExists)
}

// Not found is an answer; unavailable is the absence of one.
func TestIsOutage(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"unavailable", fmt.Errorf("token: %w", provider.ErrUnavailable), true},
		{"the store's own time limit", fmt.Errorf("%w: %w", provider.ErrUnavailable, context.DeadlineExceeded), true},
		{"the caller has gone", fmt.Errorf("%w: %w", provider.ErrUnavailable, context.Canceled), false},
		{"the caller's context alone", context.DeadlineExceeded, false},
		{"not found", provider.ErrNotFound, false},
		{"a wrong PIN", provider.ErrAuth, false},
		{"closed", provider.ErrClosed, false},
		{"tampered", provider.ErrTampered, false},
		{"stale", provider.ErrStale, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, provider.IsOutage(tt.err)) })
	}
}
