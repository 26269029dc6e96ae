package providertest

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testJWK(t *testing.T) {
	for _, alg := range s.algs(creates, isPublic) {
		t.Run(string(alg)+" has exactly the members of its type", func(t *testing.T) { s.testJWKMembers(t, alg) })
	}
	for _, alg := range s.algs(creates) {
		if alg.Class() == provider.Symmetric {
			t.Run(string(alg)+" has none: ErrUnsupported", func(t *testing.T) {
				_, err := s.p.PublicJWK(t.Context(), s.key(t, alg).KID, 0)
				require.ErrorIs(t, err, provider.ErrUnsupported)
			})
		}
	}
	t.Run("key_ops are those of the public half of the uses", s.testKeyOps)
	t.Run("version 0 is the highest, whatever its state", func(t *testing.T) {
		first := s.create(t, provider.KeySpec{Alg: s.quick(t)})
		second := s.rotate(t, first.KID, provider.Rotation{})
		got, err := s.p.PublicJWK(t.Context(), first.KID, 0)
		require.NoError(t, err)
		require.Equal(t, second.JWKKID(), got.JWKKID())
		require.Equal(t, second.Fingerprint, got.Thumbprint())
	})
}

func (s *suite) testJWKMembers(t *testing.T, alg provider.KeyAlg) {
	ref := s.key(t, alg)
	got, err := s.p.PublicJWK(t.Context(), ref.KID, 1)
	require.NoError(t, err)

	members, canonical := publicMembers(t, got.PublicKey())
	members["kid"], members["alg"], members["use"] = ref.KID+".1", jwaName[alg], jwkUse[alg]
	if alg != provider.X25519 { // whose public half has no operation of its own
		members["key_ops"] = map[string]any{"sig": []any{"verify"}, "enc": []any{"encrypt", "wrapKey"}}[jwkUse[alg]]
	}
	var have map[string]any
	require.NoError(t, json.Unmarshal(got.JSON(), &have))
	require.Equal(t, members, have)
	require.Equal(t, thumbprint(canonical), got.Thumbprint(), "RFC 7638")
	require.Equal(t, thumbprint(canonical), ref.Fingerprint)
	sameVersion(t, ref, got.Ref())

	key, err := got.Key()
	require.NoError(t, err)
	private, err := jwk.IsPrivateKey(key)
	require.NoError(t, err)
	require.False(t, private)
	text, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(got.JSON()), string(text))
}

// The names of the registries (RFC 7518 sections 3.1, 4.1 and 5.1, RFC 8037), written down once more to check the table
// of package provider.
var (
	jwaName = map[provider.KeyAlg]string{
		provider.AES256GCM: "A256GCM", provider.HMACSHA256: "HS256", provider.Ed25519: "EdDSA", provider.X25519: "ECDH-ES",
		provider.RSAOAEPSHA256: "RSA-OAEP-256", provider.RSAPSSSHA256: "PS256", provider.RSAPKCS1SHA256: "RS256",
		provider.ECDSAP256SHA256: "ES256", provider.ECDSAP384SHA384: "ES384", provider.ECDSAP521SHA512: "ES512",
	}
	jwkUse = map[provider.KeyAlg]string{
		provider.Ed25519: "sig", provider.X25519: "enc", provider.RSAOAEPSHA256: "enc", provider.RSAPSSSHA256: "sig",
		provider.RSAPKCS1SHA256: "sig", provider.ECDSAP256SHA256: "sig", provider.ECDSAP384SHA384: "sig", provider.ECDSAP521SHA512: "sig",
	}
)

// publicMembers returns the members of a public key's JWK that its type demands, and the canonical JSON of RFC 7638.
func publicMembers(t *testing.T, public crypto.PublicKey) (members map[string]any, canonical string) {
	t.Helper()
	switch k := public.(type) {
	case *rsa.PublicKey:
		n, e := b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
		return map[string]any{"kty": "RSA", "n": n, "e": e}, fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, e, n)
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, x, y
		require.NoError(t, err)
		size := len(point) / 2
		x, y, crv := b64(point[1:1+size]), b64(point[1+size:]), k.Curve.Params().Name
		return map[string]any{"kty": "EC", "crv": crv, "x": x, "y": y}, fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, crv, x, y)
	case ed25519.PublicKey:
		return octetPair("Ed25519", k)
	case *ecdh.PublicKey:
		return octetPair("X25519", k.Bytes())
	}
	require.Failf(t, "unknown public key", "%T", public)
	return nil, ""
}

func octetPair(crv string, public []byte) (members map[string]any, canonical string) {
	x := b64(public)
	return map[string]any{"kty": "OKP", "crv": crv, "x": x}, fmt.Sprintf(`{"crv":%q,"kty":"OKP","x":%q}`, crv, x)
}

func (s *suite) testKeyOps(t *testing.T) {
	tests := []struct {
		name string
		alg  provider.KeyAlg
		uses []provider.KeyUse
		want []any
	}{
		{"verify only", s.quick(t), []provider.KeyUse{provider.UseVerify}, []any{"verify"}},
		{"sign only", s.quick(t), []provider.KeyUse{provider.UseSign}, []any{"verify"}},
		{"decrypt only", provider.RSAOAEPSHA256, []provider.KeyUse{provider.UseDecrypt}, []any{"encrypt"}},
		{"wrap and unwrap", provider.RSAOAEPSHA256, []provider.KeyUse{provider.UseWrap, provider.UseUnwrap}, []any{"wrapKey"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.has(t, tt.alg, creates)
			ref := s.create(t, provider.KeySpec{Alg: tt.alg, Uses: tt.uses})
			got, err := s.p.PublicJWK(t.Context(), ref.KID, 0)
			require.NoError(t, err)
			var have map[string]any
			require.NoError(t, json.Unmarshal(got.JSON(), &have))
			require.Equal(t, tt.want, have["key_ops"])
		})
	}
}
