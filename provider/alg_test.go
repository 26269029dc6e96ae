package provider_test

import (
	"crypto"
	"crypto/rsa"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// The table of algorithms as RFC 7518 (sections 3.1, 4.1, 5.1, 6) and RFC 8037 (section 2) name them.
func TestAlgorithms(t *testing.T) {
	signing := []provider.KeyUse{"sign", "verify"}
	encryption := []provider.KeyUse{"encrypt", "decrypt", "wrap", "unwrap"}
	tests := []struct {
		alg                    provider.KeyAlg
		name                   string
		class                  provider.KeyClass
		jwa, kty, crv          string
		hash                   crypto.Hash
		uses                   []provider.KeyUse
		least, standard, most  int
		signs, takesPSSOptions bool
	}{
		{provider.AES256GCM, "AES256_GCM", "symmetric", "A256GCM", "oct", "", 0, encryption, 256, 256, 256, false, false},
		{provider.HMACSHA256, "HMAC_SHA256", "symmetric", "HS256", "oct", "", crypto.SHA256, signing, 256, 256, 4096, false, false},
		{provider.Ed25519, "ED25519", "asymmetric", "EdDSA", "OKP", "Ed25519", 0, signing, 256, 256, 256, true, false},
		{provider.X25519, "X25519", "asymmetric", "ECDH-ES", "OKP", "X25519", 0, []provider.KeyUse{"derive"}, 256, 256, 256, false, false},
		{provider.RSAOAEPSHA256, "RSA_OAEP_SHA256", "asymmetric", "RSA-OAEP-256", "RSA", "", crypto.SHA256, encryption, 2048, 3072, 4096, false, false},
		{provider.RSAPSSSHA256, "RSA_PSS_SHA256", "asymmetric", "PS256", "RSA", "", crypto.SHA256, signing, 2048, 3072, 4096, true, true},
		{provider.RSAPKCS1SHA256, "RSA_PKCS1_SHA256", "asymmetric", "RS256", "RSA", "", crypto.SHA256, signing, 2048, 3072, 4096, true, false},
		{provider.ECDSAP256SHA256, "ECDSA_P256_SHA256", "asymmetric", "ES256", "EC", "P-256", crypto.SHA256, signing, 256, 256, 256, true, false},
		{provider.ECDSAP384SHA384, "ECDSA_P384_SHA384", "asymmetric", "ES384", "EC", "P-384", crypto.SHA384, signing, 384, 384, 384, true, false},
		{provider.ECDSAP521SHA512, "ECDSA_P521_SHA512", "asymmetric", "ES512", "EC", "P-521", crypto.SHA512, signing, 521, 521, 521, true, false},
	}
	var all []provider.KeyAlg
	for _, tt := range tests {
		all = append(all, tt.alg)
		t.Run(tt.name, func(t *testing.T) {
			parsed, err := provider.ParseKeyAlg(tt.name)
			require.NoError(t, err)
			require.Equal(t, tt.alg, parsed)
			require.Equal(t, tt.class, tt.alg.Class())
			require.Equal(t, tt.jwa, tt.alg.JWA())
			require.Equal(t, tt.kty, tt.alg.KeyType())
			require.Equal(t, tt.crv, tt.alg.Curve())
			require.Equal(t, tt.hash, tt.alg.Hash())
			require.True(t, tt.hash == 0 || tt.hash.Available())
			require.Equal(t, tt.uses, tt.alg.Uses())
			require.Equal(t, tt.signs, tt.alg.Signs())
			least, standard, most := tt.alg.Bits()
			require.Equal(t, [3]int{tt.least, tt.standard, tt.most}, [3]int{least, standard, most})
			_, isPSS := tt.alg.SignerOpts().(*rsa.PSSOptions)
			require.Equal(t, tt.takesPSSOptions, isPSS)
			require.Equal(t, tt.hash, tt.alg.SignerOpts().HashFunc())
		})
	}
	require.Equal(t, all, provider.Algs())
}

func TestPSSSaltIsAsLongAsTheHash(t *testing.T) {
	require.Equal(t, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash}, provider.RSAPSSSHA256.SignerOpts())
}

func TestUnknownAlgorithmIsNothing(t *testing.T) {
	for _, name := range []string{"", "ES256", "ed25519", "AES128_GCM"} {
		alg, err := provider.ParseKeyAlg(name)
		require.ErrorIs(t, err, provider.ErrInvalid)
		require.Empty(t, alg.Class())
		require.Empty(t, alg.JWA())
		require.Empty(t, alg.Uses())
		require.Zero(t, alg.Hash())
		require.False(t, alg.Signs())
	}
}

func TestTheTableOfAlgorithmsIsNotTheCallers(t *testing.T) {
	provider.Ed25519.Uses()[0] = "spoilt"
	provider.Algs()[0] = "spoilt"
	require.Equal(t, []provider.KeyUse{provider.UseSign, provider.UseVerify}, provider.Ed25519.Uses())
	require.Equal(t, provider.AES256GCM, provider.Algs()[0])
}
