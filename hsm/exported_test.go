package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// scalarOfTests is the private key of RFC 6979 appendix A.2.5 on P-256. It also serves as a seed of Ed25519 and a scalar of X25519.
const scalarOfTests = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"

// keysOfTests returns keys that are the same in every process, so that a fuzz test can start from them.
func keysOfTests(t testing.TB) map[provider.KeyAlg]crypto.PrivateKey {
	t.Helper()
	b, err := hex.DecodeString(scalarOfTests)
	require.NoError(t, err)
	p256, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
	require.NoError(t, err)
	x, err := ecdh.X25519().NewPrivateKey(b)
	require.NoError(t, err)
	return map[provider.KeyAlg]crypto.PrivateKey{provider.ECDSAP256SHA256: p256, provider.Ed25519: ed25519.NewKeyFromSeed(b), provider.X25519: x}
}

// recordOf returns a record of the version that has the key.
func recordOf(t testing.TB, alg provider.KeyAlg, key crypto.PrivateKey) *record {
	t.Helper()
	fingerprint, err := provider.Thumbprint(key.(interface{ Public() crypto.PublicKey }).Public())
	require.NoError(t, err)
	return &record{KID: "k", Version: 1, Alg: alg, Bits: 256, Fingerprint: fingerprint}
}

// softhsmP256 is what SoftHSM2 2.6.1 wraps of the test's key: PKCS #8 without the public half and with zeros after its end.
func softhsmP256(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString("3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420" + scalarOfTests + "0000000000")
	require.NoError(t, err)
	return b
}

func TestExportedPrivate(t *testing.T) {
	keys := keysOfTests(t)
	pkcs8 := func(alg provider.KeyAlg) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(keys[alg])
		require.NoError(t, err)
		return der
	}
	sec1, err := x509.MarshalECPrivateKey(keys[provider.ECDSAP256SHA256].(*ecdsa.PrivateKey))
	require.NoError(t, err)
	valueOf := func(alg provider.KeyAlg) []byte {
		b, err := hex.DecodeString(scalarOfTests)
		require.NoError(t, err)
		der, err := pkcs8OfValue(alg, b)
		require.NoError(t, err)
		return der
	}
	p256 := provider.ECDSAP256SHA256
	tests := []struct {
		name  string
		alg   provider.KeyAlg
		plain []byte
		fits  bool
	}{
		{"PKCS #8 as crypto/x509 writes it", p256, pkcs8(p256), true},
		{"PKCS #8 as SoftHSM2 wraps it", p256, softhsmP256(t), true},
		{"SEC 1", p256, sec1, true},
		{"a seed of Ed25519 as CKA_VALUE", provider.Ed25519, valueOf(provider.Ed25519), true},
		{"a scalar of X25519 as CKA_VALUE", provider.X25519, valueOf(provider.X25519), true},
		{"nothing", p256, nil, false},
		{"no DER", p256, bytes.Repeat([]byte{0xAA}, 64), false},
		{"half of it", p256, pkcs8(p256)[:40], false},
		{"more after its end than padding", p256, append(pkcs8(p256), make([]byte, 8)...), false},
		{"something else after its end", p256, append(pkcs8(p256), 0, 1), false},
		{"another key", p256, bytes.Replace(softhsmP256(t), []byte{0xc9, 0xaf}, []byte{0xc9, 0xae}, 1), false},
		{"a key for another algorithm", p256, pkcs8(provider.Ed25519), false},
		{"the same number on another curve", provider.Ed25519, valueOf(provider.X25519), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.plain)
			secret, err := exportedPrivate(recordOf(t, tt.alg, keys[tt.alg]), tt.plain)
			require.Equal(t, before, tt.plain, "the input is the caller's to wipe")
			if !tt.fits {
				require.EqualError(t, err, `stored data damaged or tampered with: export "k.1": what the token gave is not this key`)
				require.ErrorIs(t, err, provider.ErrTampered)
				require.True(t, secret.Empty())
				return
			}
			require.NoError(t, err)
			require.Equal(t, pkcs8(tt.alg), secret.Expose())
		})
	}
}

func TestExportedSecret(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 33)
	r := &record{KID: "k", Version: 1, Alg: provider.HMACSHA256, Bits: 264}
	tests := []struct {
		name  string
		plain []byte
		fits  bool
	}{
		{"the key", key, true},
		{"the key as SoftHSM2 wraps it, padded with zeros", append(slices.Clone(key), make([]byte, 7)...), true},
		{"a longer key", append(slices.Clone(key), 7), false},
		{"a key that is zero for longer", append(slices.Clone(key), make([]byte, 8)...), false},
		{"a shorter key", key[:32], false},
		{"nothing", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := exportedSecret(r, tt.plain)
			if !tt.fits {
				require.ErrorIs(t, err, provider.ErrTampered)
				return
			}
			require.NoError(t, err)
			require.Equal(t, key, got)
		})
	}
}

func TestValueOfAnotherLength(t *testing.T) {
	for _, n := range []int{0, 31, 33, 34, 64} {
		_, err := pkcs8OfValue(provider.Ed25519, make([]byte, n))
		require.ErrorIs(t, err, provider.ErrUnsupported, "%d bytes", n)
	}
}

// Whatever a token wraps, what comes out is the version's key in one encoding, or nothing.
func FuzzExportedPrivate(f *testing.F) {
	keys := keysOfTests(f)
	f.Add(softhsmP256(f))
	records, want := map[provider.KeyAlg]*record{}, map[provider.KeyAlg][]byte{}
	for alg, key := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(f, err)
		f.Add(der)
		records[alg], want[alg] = recordOf(f, alg, key), der
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		for alg, r := range records {
			secret, err := exportedPrivate(r, plain)
			if err != nil {
				require.ErrorIs(t, err, provider.ErrTampered)
				require.True(t, secret.Empty())
				continue
			}
			require.Equal(t, want[alg], secret.Expose())
		}
	})
}
