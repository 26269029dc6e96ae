package hsm

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestPrivateAttributesOfKeysOnCurves(t *testing.T) {
	seed := unhex(t, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60") // RFC 8032 section 7.1
	short := unhex(t, "0000000000000000000000000000000000000000000000000000000000000102")
	p256, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), short)
	require.NoError(t, err)
	p521, err := ecdsa.ParseRawPrivateKey(elliptic.P521(), append(make([]byte, 34), short...))
	require.NoError(t, err)
	x, err := ecdh.X25519().NewPrivateKey(seed)
	require.NoError(t, err)
	tests := []struct {
		name string
		key  crypto.PrivateKey
		want []byte
	}{
		{"a scalar of P-256 keeps its leading zeros", p256, short},
		{"a scalar of P-521 has 66 bytes", p521, append(make([]byte, 34), short...)},
		{"Ed25519 gives its seed", ed25519.NewKeyFromSeed(seed), seed},
		{"X25519 gives its scalar", x, seed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := privateAttributes(tt.key)
			require.NoError(t, err)
			require.Equal(t, []attribute{{ckaValue, tt.want}}, got)
			wipe(got)
			require.Equal(t, []attribute{{ckaValue, make([]byte, len(tt.want))}}, got)
			again, err := privateAttributes(tt.key)
			require.NoError(t, err)
			require.Equal(t, []attribute{{ckaValue, tt.want}}, again, "wiping the values leaves the key")
		})
	}
}

func TestPrivateAttributesOfRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	bare := &rsa.PrivateKey{PublicKey: key.PublicKey, D: key.D, Primes: key.Primes} // nothing precomputed
	for name, k := range map[string]*rsa.PrivateKey{"precomputed": key, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			got, err := privateAttributes(k)
			require.NoError(t, err)
			require.Len(t, got, 8)
			num := func(typ uint) *big.Int {
				i := slices.IndexFunc(got, func(a attribute) bool { return a.typ == typ })
				require.GreaterOrEqual(t, i, 0, "attribute %#x", typ)
				return new(big.Int).SetBytes(got[i].value.([]byte))
			}
			one, p, q, d := big.NewInt(1), num(ckaPrime1), num(ckaPrime2), num(ckaPrivateExponent)
			require.Equal(t, new(big.Int).Mul(p, q), num(ckaModulus))
			require.EqualValues(t, 65537, num(ckaPublicExponent).Int64())
			require.Equal(t, key.D, d)
			require.Equal(t, new(big.Int).Mod(d, new(big.Int).Sub(p, one)), num(ckaExponent1))
			require.Equal(t, new(big.Int).Mod(d, new(big.Int).Sub(q, one)), num(ckaExponent2))
			require.Equal(t, new(big.Int).ModInverse(q, p), num(ckaCoefficient))

			wipe(got)
			for _, a := range got {
				require.Equal(t, make([]byte, len(a.value.([]byte))), a.value, "attribute %#x", a.typ)
			}
			require.NoError(t, k.Validate(), "wiping the values leaves the key")
		})
	}
	require.Nil(t, bare.Precomputed.Dp, "the caller's key is left as it was")
}

func TestPrivateAttributesRefuses(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), nil)
	require.NoError(t, err)
	p256, err := ecdh.P256().GenerateKey(nil)
	require.NoError(t, err)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	mixed := &rsa.PrivateKey{PublicKey: key.PublicKey, D: new(big.Int).Add(key.D, big.NewInt(2)), Primes: key.Primes}
	three := &rsa.PrivateKey{PublicKey: key.PublicKey, D: key.D, Primes: append([]*big.Int{big.NewInt(3)}, key.Primes...)}
	tests := []struct {
		name string
		key  crypto.PrivateKey
		text string
	}{
		{"another curve", p224, "ECDSA public key: want it on P-256, P-384 or P-521"},
		{"ECDH on P-256", p256, "private key of type *ecdh.PrivateKey: want RSA or one on P-256, P-384, P-521, Ed25519, X25519"},
		{"nothing", nil, "private key of type <nil>: want RSA or one on P-256, P-384, P-521, Ed25519, X25519"},
		{"a short Ed25519 key", ed25519.PrivateKey{1, 2, 3}, "Ed25519 private key of 3 bytes: want 64"},
		{"RSA with an exponent of another key", mixed, "RSA private key: its numbers do not belong together"},
		{"RSA with three primes", three, "RSA private key of 3 primes: want 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := privateAttributes(tt.key)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.EqualError(t, err, "invalid: "+tt.text)
			require.Empty(t, got)
		})
	}
}
