package providertest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // linked in, so that its refusal is not for its absence
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testSign(t *testing.T) {
	optional[provider.Signing](t, s.p, "Signing")
	algs := s.algs(creates, uses, signs)
	for _, alg := range algs {
		t.Run(string(alg)+" verifies with the standard library", func(t *testing.T) { s.testSignature(t, alg) })
		t.Run(string(alg)+" refuses what it is not for", func(t *testing.T) { s.testWrongSignature(t, alg) })
	}
	t.Run("a key of another kind is ErrUnsupported", func(t *testing.T) { s.testOtherUses(t, "Signer") })
	t.Run("a key whose uses do not name sign is ErrInvalid", func(t *testing.T) {
		ref := s.create(t, provider.KeySpec{Alg: s.quick(t), Uses: []provider.KeyUse{provider.UseVerify}})
		_, err := s.p.(provider.Signing).Signer(t.Context(), ref.KID, 0)
		require.ErrorIs(t, err, provider.ErrInvalid)
	})
	t.Run("a missing version is ErrNotFound", s.testSignerMissing)
	t.Run("a signer stays bound to its version", s.testSignerBound)
	t.Run("a signer of a destroyed version signs no more", s.testSignerDestroyed)
	t.Run("a retired version still signs when named", func(t *testing.T) {
		ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
		s.rotate(t, ref.KID, provider.Rotation{Windows: atOnce})
		s.works(t, ref, outsider{public: s.publicKey(t, ref)})
	})
}

func (s *suite) testSignature(t *testing.T, alg provider.KeyAlg) {
	ref := s.key(t, alg)
	signer, public := s.signer(t, ref), s.publicKey(t, ref)
	require.True(t, samePublic(public, signer.Public()))
	sameVersion(t, ref, signer.KeyRef())

	for _, opts := range signerOptions(alg) {
		for _, message := range [][]byte{[]byte("a message"), {}, make([]byte, 100_000)} {
			digest := message
			if opts.HashFunc() != 0 {
				digest = digestOf(opts.HashFunc(), message)
			}
			signature, err := signer.Sign(rand.Reader, digest, opts)
			require.NoError(t, err, "a message of %d bytes, %T, %v", len(message), opts, opts.HashFunc())
			verifies(t, alg, public, opts.HashFunc(), message, signature)
			signature, err = signer.SignContext(t.Context(), digest, opts)
			require.NoError(t, err)
			verifies(t, alg, public, opts.HashFunc(), message, signature)
		}
	}
	message := []byte("by the contract's own Verify too")
	jwk, err := s.p.PublicJWK(t.Context(), ref.KID, 1)
	require.NoError(t, err)
	for _, opts := range []crypto.SignerOpts{alg.SignerOpts(), nil} {
		signature, err := signer.Sign(nil, alg.Digest(message), opts)
		require.NoError(t, err, "the store needs no randomness from the caller, and no options for the algorithm's own scheme")
		require.NoError(t, jwk.Verify(message, signature))
		require.ErrorIs(t, jwk.Verify([]byte("another message"), signature), provider.ErrInvalid)
	}
}

// signerOptions returns every kind of options that a signer of alg takes, but for none at all.
func signerOptions(alg provider.KeyAlg) []crypto.SignerOpts {
	if alg == provider.Ed25519 {
		return []crypto.SignerOpts{crypto.Hash(0), &ed25519.Options{}}
	}
	var all []crypto.SignerOpts
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if alg != provider.RSAPSSSHA256 {
			all = append(all, hash)
			continue
		}
		all = append(all,
			&rsa.PSSOptions{Hash: hash}, // SaltLength is PSSSaltLengthAuto
			&rsa.PSSOptions{Hash: hash, SaltLength: rsa.PSSSaltLengthEqualsHash},
			&rsa.PSSOptions{Hash: hash, SaltLength: hash.Size()})
	}
	return all
}

func (s *suite) testWrongSignature(t *testing.T, alg provider.KeyAlg) {
	signer := s.signer(t, s.key(t, alg))
	type row struct {
		name string
		size int
		opts crypto.SignerOpts
	}
	var rows []row
	if alg == provider.Ed25519 {
		rows = []row{
			{"a digest in place of the message", 32, crypto.SHA256},
			{"Ed25519ph", 64, &ed25519.Options{Hash: crypto.SHA512}},
			{"Ed25519ctx", 32, &ed25519.Options{Context: "a protocol"}},
			{"options that are a nil pointer", 32, (*ed25519.Options)(nil)},
		}
	} else {
		own := alg.SignerOpts()
		size := own.HashFunc().Size()
		rows = []row{
			{"a digest that is a byte short", size - 1, own},
			{"a digest that is a byte long", size + 1, own},
			{"no digest", 0, own},
			{"a message in place of a digest", 3 * size, own},
			{"SHA-1", 20, crypto.SHA1},
			{"no hash", size, crypto.Hash(0)},
			{"options that are a nil pointer", size, (*rsa.PSSOptions)(nil)},
			{"a digest that is a byte short, and no options", size - 1, nil},
		}
	}
	pss := func(salt int) crypto.SignerOpts { return &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: salt} }
	switch alg {
	case provider.RSAPKCS1SHA256:
		rows = append(rows, row{"the padding of PSS", 32, pss(rsa.PSSSaltLengthEqualsHash)})
	case provider.RSAPSSSHA256:
		rows = append(rows, row{"the padding of PKCS #1 v1.5", 32, crypto.SHA256}, row{"a salt of another length", 32, pss(20)})
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			_, err := signer.Sign(rand.Reader, make([]byte, r.size), r.opts)
			require.ErrorIs(t, err, provider.ErrInvalid)
			_, err = signer.SignContext(t.Context(), make([]byte, r.size), r.opts)
			require.ErrorIs(t, err, provider.ErrInvalid)
		})
	}
}

func (s *suite) testSignerMissing(t *testing.T) {
	p := s.p.(provider.Signing)
	ref := s.key(t, s.quick(t))
	for _, version := range []int{0, 1} {
		_, err := p.Signer(t.Context(), s.kid(t), version)
		require.ErrorIs(t, err, provider.ErrNotFound)
	}
	_, err := p.Signer(t.Context(), ref.KID, 2)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = p.Signer(t.Context(), ref.KID, -1)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

func (s *suite) testSignerBound(t *testing.T) {
	first := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	first.Version = 0
	signer := s.signer(t, first)
	s.rotate(t, first.KID, provider.Rotation{Windows: atOnce})
	first.Version = 1
	message := []byte("m")
	signature, err := signer.Sign(rand.Reader, first.Alg.Digest(message), first.Alg.SignerOpts())
	require.NoError(t, err)
	verifies(t, first.Alg, s.publicKey(t, first), first.Alg.Hash(), message, signature)
	require.Equal(t, 1, signer.KeyRef().Version)
}

func (s *suite) testSignerDestroyed(t *testing.T) {
	ref := s.create(t, provider.KeySpec{Alg: s.quick(t)})
	signer := s.signer(t, ref)
	s.destroy(t, ref.KID, 1, 1)
	_, err := signer.Sign(rand.Reader, ref.Alg.Digest([]byte("m")), ref.Alg.SignerOpts())
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = s.p.CreateKey(t.Context(), provider.KeySpec{KID: ref.KID, Alg: ref.Alg})
	require.NoError(t, err)
	_, err = signer.Sign(rand.Reader, ref.Alg.Digest([]byte("m")), ref.Alg.SignerOpts())
	require.ErrorIs(t, err, provider.ErrNotFound, "it does not pass to the next key of that name")
}
