package providertest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testDecrypt(t *testing.T) {
	p := optional[provider.Decrypting](t, s.p, "Decrypting")
	t.Run("a key of another kind is ErrUnsupported", func(t *testing.T) { s.testOtherUses(t, "Decrypter") })
	s.has(t, provider.RSAOAEPSHA256, creates, uses)
	t.Run("gives back what was encrypted to the public half", s.testOAEP)
	t.Run("says the same of every ciphertext that is not for it", s.testWrongCiphertext)
	t.Run("refuses another padding", s.testWrongPadding)
	t.Run("a key whose uses do not name decrypt is ErrInvalid", func(t *testing.T) {
		ref := s.create(t, provider.KeySpec{Alg: provider.RSAOAEPSHA256, Uses: []provider.KeyUse{provider.UseEncrypt}})
		_, err := p.Decrypter(t.Context(), ref.KID, 0)
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
	t.Run("version 0 is the highest, and stays bound to it", s.testDecrypterVersion)
	t.Run("a missing version is ErrNotFound", func(t *testing.T) {
		_, err := p.Decrypter(t.Context(), s.kid(t), 0)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.Decrypter(t.Context(), s.key(t, provider.RSAOAEPSHA256).KID, 2)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = p.Decrypter(t.Context(), s.key(t, provider.RSAOAEPSHA256).KID, -1)
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
}

// encryptTo encrypts with the standard library, SHA-256 and MGF1-SHA-256.
func encryptTo(t *testing.T, public crypto.PublicKey, plaintext, label []byte) []byte {
	t.Helper()
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), plaintext, label)
	require.NoError(t, err)
	return ciphertext
}

func oaep(label string) *rsa.OAEPOptions {
	return &rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte(label)}
}

func (s *suite) testOAEP(t *testing.T) {
	ref := s.key(t, provider.RSAOAEPSHA256)
	d, public := s.decrypter(t, ref), s.publicKey(t, ref).(*rsa.PublicKey)
	require.True(t, samePublic(public, d.Public()))
	sameVersion(t, ref, d.KeyRef())
	most := public.Size() - 2*sha256.Size - 2 // RFC 8017 section 7.1.1
	for name, plaintext := range map[string][]byte{"nothing": {}, "a key": make([]byte, 32), "as much as fits": make([]byte, most)} {
		tests := map[string]struct {
			label string
			opts  crypto.DecrypterOpts
		}{
			"no options":       {"", nil},
			"no label":         {"", oaep("")},
			"a label":          {"orders", oaep("orders")},
			"the mask by name": {"", &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA256}},
		}
		for options, tt := range tests {
			ciphertext := encryptTo(t, public, plaintext, []byte(tt.label))
			got, err := d.Decrypt(rand.Reader, ciphertext, tt.opts)
			require.NoError(t, err, "%s, %s", name, options)
			require.Equal(t, plaintext, append([]byte{}, got...))
			got, err = d.DecryptContext(t.Context(), ciphertext, tt.opts)
			require.NoError(t, err)
			require.Equal(t, plaintext, append([]byte{}, got...))
		}
	}
}

// A caller that could tell a wrong label from a broken padding could decrypt step by step (Manger's attack).
func (s *suite) testWrongCiphertext(t *testing.T) {
	ref := s.key(t, provider.RSAOAEPSHA256)
	d, public := s.decrypter(t, ref), s.publicKey(t, ref).(*rsa.PublicKey)
	good := encryptTo(t, public, []byte("m"), []byte("orders"))
	flipped := func(i int) []byte { c := slices.Clone(good); c[i] ^= 1; return c }
	tests := map[string][]byte{
		"of another label":    encryptTo(t, public, []byte("m"), []byte("invoices")),
		"of no label":         encryptTo(t, public, []byte("m"), nil),
		"of another key":      encryptTo(t, &outsideRSA().PublicKey, []byte("m"), []byte("orders")),
		"changed at its end":  flipped(len(good) - 1),
		"changed inside":      flipped(len(good) / 2),
		"the number one":      append(make([]byte, len(good)-1), 1),
		"of zero bytes only":  make([]byte, len(good)),
		"as PKCS #1 v1.5 has": pkcs1Ciphertext(t, public),
	}
	texts := map[string]string{}
	for name, ciphertext := range tests {
		plaintext, err := d.Decrypt(rand.Reader, ciphertext, oaep("orders"))
		require.ErrorIs(t, err, provider.ErrInvalid, name)
		require.Empty(t, plaintext)
		texts[err.Error()] = name
	}
	require.Len(t, texts, 1, "one error for all")
	for name, ciphertext := range map[string][]byte{
		"short": good[:len(good)-1], "long": append(slices.Clone(good), 0), "empty": nil, "not below the modulus": public.N.Bytes(),
	} {
		_, err := d.Decrypt(rand.Reader, ciphertext, oaep("orders"))
		require.ErrorIs(t, err, provider.ErrInvalid, name)
	}
}

func pkcs1Ciphertext(t *testing.T, public *rsa.PublicKey) []byte {
	t.Helper()
	//lint:ignore SA1019 the wrong padding is the point
	c, err := rsa.EncryptPKCS1v15(rand.Reader, public, []byte("m"))
	require.NoError(t, err)
	return c
}

func (s *suite) testWrongPadding(t *testing.T) {
	ref := s.key(t, provider.RSAOAEPSHA256)
	d, public := s.decrypter(t, ref), s.publicKey(t, ref).(*rsa.PublicKey)
	for name, opts := range map[string]crypto.DecrypterOpts{
		//lint:ignore SA1019 the wrong padding is the point
		"PKCS #1 v1.5":     &rsa.PKCS1v15DecryptOptions{},
		"OAEP with SHA-1":  &rsa.OAEPOptions{Hash: crypto.SHA1},
		"MGF1 with SHA-1":  &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA1},
		"OAEP, no hash":    &rsa.OAEPOptions{},
		"a nil OAEP":       (*rsa.OAEPOptions)(nil),
		"something else":   "PKCS1",
		"options by value": rsa.OAEPOptions{Hash: crypto.SHA256},
	} {
		_, err := d.Decrypt(rand.Reader, encryptTo(t, public, []byte("m"), nil), opts)
		require.ErrorIs(t, err, provider.ErrInvalid, name)
	}
}

func (s *suite) testDecrypterVersion(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: provider.RSAOAEPSHA256})
	old := s.decrypter(t, first)
	second := s.rotate(t, first.KID, provider.Rotation{})
	first.Version = 0
	require.Equal(t, 2, s.decrypter(t, first).KeyRef().Version, "also while it is pending: whoever encrypts may have its key")
	require.Equal(t, 1, old.KeyRef().Version)
	ciphertext := encryptTo(t, old.Public(), []byte("to the first"), nil)
	plaintext, err := old.Decrypt(rand.Reader, ciphertext, nil)
	require.NoError(t, err)
	require.Equal(t, "to the first", string(plaintext))
	_, err = s.decrypter(t, second).Decrypt(rand.Reader, ciphertext, nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
	s.destroy(t, first.KID, 1, 1)
	_, err = old.Decrypt(rand.Reader, ciphertext, nil)
	require.ErrorIs(t, err, provider.ErrNotFound)
}
