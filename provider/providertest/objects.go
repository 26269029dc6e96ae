package providertest

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// objectCalls returns a call of every method of one object of each kind that the store hands out: of those that take a
// context, and of those that take none.
func (s *suite) objectCalls(t *testing.T) (withContext, without []someCall) {
	t.Helper()
	for _, alg := range s.algs(creates, uses) {
		var a, b []someCall
		switch ref := s.key(t, alg); {
		case alg.Signs():
			a, b = signerCalls(alg, s.signer(t, ref))
		case alg == provider.RSAOAEPSHA256:
			a, b = decrypterCalls(t, s.decrypter(t, ref))
		case alg == provider.AES256GCM:
			a = aeadCalls(t, s.aead(t, ref))
		case alg == provider.HMACSHA256:
			a = macCalls(t, s.mac(t, ref))
		}
		withContext, without = append(withContext, a...), append(without, b...)
	}
	return withContext, without
}

func signerCalls(alg provider.KeyAlg, signer provider.Signer) (withContext, without []someCall) {
	digest, opts := alg.Digest([]byte("m")), alg.SignerOpts()
	withContext = []someCall{{string(alg) + " SignContext", func(ctx context.Context) error {
		_, err := signer.SignContext(ctx, digest, opts)
		return err
	}}}
	without = []someCall{{string(alg) + " Sign", func(context.Context) error {
		_, err := signer.Sign(rand.Reader, digest, opts)
		return err
	}}}
	return withContext, without
}

func decrypterCalls(t *testing.T, d provider.Decrypter) (withContext, without []someCall) {
	t.Helper()
	ciphertext := encryptTo(t, d.Public(), []byte("m"), nil)
	withContext = []someCall{{"DecryptContext", func(ctx context.Context) error {
		_, err := d.DecryptContext(ctx, ciphertext, nil)
		return err
	}}}
	without = []someCall{{"Decrypt", func(context.Context) error {
		_, err := d.Decrypt(rand.Reader, ciphertext, nil)
		return err
	}}}
	return withContext, without
}

func aeadCalls(t *testing.T, a provider.AEAD) []someCall {
	t.Helper()
	sealed, err := a.Encrypt(t.Context(), []byte("m"), nil)
	require.NoError(t, err)
	return []someCall{
		{"AEAD Encrypt", func(ctx context.Context) error { _, err := a.Encrypt(ctx, []byte("m"), nil); return err }},
		{"AEAD Decrypt", func(ctx context.Context) error { _, err := a.Decrypt(ctx, sealed, nil); return err }},
	}
}

func macCalls(t *testing.T, m provider.MAC) []someCall {
	t.Helper()
	code, err := m.Sum(t.Context(), []byte("m"))
	require.NoError(t, err)
	return []someCall{
		{"MAC Sum", func(ctx context.Context) error { _, err := m.Sum(ctx, []byte("m")); return err }},
		{"MAC Verify", func(ctx context.Context) error { return m.Verify(ctx, []byte("m"), code) }},
	}
}
