package providertest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testAEAD(t *testing.T) {
	p := optional[provider.Encrypting](t, s.p, "Encrypting")
	t.Run("a key of another kind is ErrUnsupported", func(t *testing.T) { s.testOtherUses(t, "AEAD") })
	s.has(t, provider.AES256GCM, creates, uses)
	t.Run("gives back what it encrypted", s.testSealOpen)
	t.Run("draws a fresh nonce each time", s.testNonces)
	t.Run("refuses a message that it did not make", s.testWrongMessage)
	t.Run("a key whose uses name neither is ErrInvalid", func(t *testing.T) {
		ref := s.create(t, provider.KeySpec{Alg: provider.AES256GCM, Uses: []provider.KeyUse{provider.UseWrap, provider.UseUnwrap}})
		a, err := p.AEAD(t.Context(), ref.KID, 0)
		if err == nil {
			_, err = a.Encrypt(t.Context(), []byte("m"), nil)
		}
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
	t.Run("a key for one direction is ErrInvalid in the other", s.testOneDirection)
	t.Run("version 0 is the highest, and stays bound to it", s.testAEADVersion)
	t.Run("a missing version is ErrNotFound", func(t *testing.T) {
		_, err := p.AEAD(t.Context(), s.kid(t), 0)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.AEAD(t.Context(), s.key(t, provider.AES256GCM).KID, 2)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.AEAD(t.Context(), s.key(t, provider.AES256GCM).KID, -1)
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
}

func (s *suite) testSealOpen(t *testing.T) {
	a := s.aead(t, s.key(t, provider.AES256GCM))
	for _, size := range []int{0, 1, 16, 17, 64 << 10} {
		for name, ad := range map[string][]byte{"none": nil, "empty": {}, "some": []byte("header")} {
			plaintext := make([]byte, size)
			sealed, err := a.Encrypt(t.Context(), plaintext, ad)
			require.NoError(t, err, "%d bytes, additional data: %s", size, name)
			require.Len(t, sealed, 12+size+16, "nonce, ciphertext, tag")
			got, err := a.Decrypt(t.Context(), sealed, ad)
			require.NoError(t, err)
			require.Equal(t, plaintext, append([]byte{}, got...))
		}
	}
	sealed, err := a.Encrypt(t.Context(), []byte("m"), nil)
	require.NoError(t, err)
	_, err = a.Decrypt(t.Context(), sealed, []byte{})
	require.NoError(t, err, "no additional data is empty additional data")
}

func (s *suite) testNonces(t *testing.T) {
	a := s.aead(t, s.key(t, provider.AES256GCM))
	seen := map[string]bool{}
	for range 20 {
		sealed, err := a.Encrypt(t.Context(), []byte("the same"), nil)
		require.NoError(t, err)
		seen[string(sealed[:12])] = true
	}
	require.Len(t, seen, 20)
}

func (s *suite) testWrongMessage(t *testing.T) {
	ref := s.key(t, provider.AES256GCM)
	a := s.aead(t, ref)
	good, err := a.Encrypt(t.Context(), []byte("pay 100"), []byte("to alice"))
	require.NoError(t, err)
	flipped := func(i int) []byte { m := slices.Clone(good); m[i] ^= 1; return m }
	other := s.aead(t, s.create(t, provider.KeySpec{Alg: provider.AES256GCM}))
	foreign, err := other.Encrypt(t.Context(), []byte("pay 100"), []byte("to alice"))
	require.NoError(t, err)
	tests := []struct {
		name        string
		message, ad []byte
	}{
		{"with other additional data", good, []byte("to mallory")},
		{"with no additional data", good, nil},
		{"with a changed nonce", flipped(0), []byte("to alice")},
		{"with a changed ciphertext", flipped(12), []byte("to alice")},
		{"with a changed tag", flipped(len(good) - 1), []byte("to alice")},
		{"without its last byte", good[:len(good)-1], []byte("to alice")},
		{"shorter than nonce and tag", good[:27], []byte("to alice")},
		{"empty", nil, nil},
		{"of another key", foreign, []byte("to alice")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := a.Decrypt(t.Context(), tt.message, tt.ad)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.Empty(t, got, "no plaintext")
		})
	}
}

func (s *suite) testOneDirection(t *testing.T) {
	encrypts := s.create(t, provider.KeySpec{Alg: provider.AES256GCM, Uses: []provider.KeyUse{provider.UseEncrypt}})
	a := s.aead(t, encrypts)
	sealed, err := a.Encrypt(t.Context(), []byte("m"), nil)
	require.NoError(t, err)
	_, err = a.Decrypt(t.Context(), sealed, nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
	decrypts := s.create(t, provider.KeySpec{Alg: provider.AES256GCM, Uses: []provider.KeyUse{provider.UseDecrypt}})
	_, err = s.aead(t, decrypts).Encrypt(t.Context(), []byte("m"), nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

func (s *suite) testAEADVersion(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: provider.AES256GCM})
	old := s.aead(t, first)
	second := s.rotate(t, first.KID, provider.Rotation{})
	latest := first
	latest.Version = 0
	sealed, err := s.aead(t, latest).Encrypt(t.Context(), []byte("m"), nil)
	require.NoError(t, err)
	_, err = s.aead(t, second).Decrypt(t.Context(), sealed, nil)
	require.NoError(t, err)
	_, err = old.Decrypt(t.Context(), sealed, nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
	sealed, err = old.Encrypt(t.Context(), []byte("m"), nil)
	require.NoError(t, err)
	s.destroy(t, first.KID, 1, 1)
	_, err = old.Decrypt(t.Context(), sealed, nil)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = old.Encrypt(t.Context(), []byte("m"), nil)
	require.ErrorIs(t, err, provider.ErrNotFound)
}
