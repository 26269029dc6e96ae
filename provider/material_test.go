package provider_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// rsaKey is one key for all tests: it is slow to make.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// privateKeys returns a key of the standard library for each algorithm that has pairs.
func privateKeys(t testing.TB) map[provider.KeyAlg]crypto.PrivateKey {
	t.Helper()
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[provider.KeyAlg]crypto.PrivateKey{
		provider.Ed25519: ed, provider.X25519: x,
		provider.RSAOAEPSHA256: rsaKey(), provider.RSAPSSSHA256: rsaKey(), provider.RSAPKCS1SHA256: rsaKey(),
		provider.ECDSAP256SHA256: ec(elliptic.P256()), provider.ECDSAP384SHA384: ec(elliptic.P384()), provider.ECDSAP521SHA512: ec(elliptic.P521()),
	}
}

func publicOf(k crypto.PrivateKey) crypto.PublicKey {
	return k.(interface{ Public() crypto.PublicKey }).Public()
}

func secretMaterial(b []byte) provider.KeyMaterial {
	return provider.KeyMaterial{Private: provider.NewSecret(b)}
}

func TestMaterialRoundTrip(t *testing.T) {
	for alg, private := range privateKeys(t) {
		t.Run(string(alg), func(t *testing.T) {
			m, err := provider.Material(private)
			require.NoError(t, err)
			p, err := m.Parse(alg, 0)
			require.NoError(t, err)
			require.Equal(t, private, p.Private)
			require.Equal(t, publicOf(private), p.Public)
			require.True(t, p.Symmetric.Empty())

			public, err := provider.PublicMaterial(publicOf(private))
			require.NoError(t, err)
			q, err := public.Parse(alg, p.Bits)
			require.NoError(t, err)
			require.Nil(t, q.Private)
			require.Equal(t, publicOf(private), q.Public)
			require.Equal(t, p.Bits, q.Bits)

			m.Public = public.Public
			_, err = m.Parse(alg, 0)
			require.NoError(t, err, "both halves of one pair")
		})
	}
}

func TestMaterialForms(t *testing.T) {
	keys := privateKeys(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(keys[provider.ECDSAP384SHA384])
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(keys[provider.ECDSAP384SHA384].(*ecdsa.PrivateKey))
	require.NoError(t, err)
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey())
	tests := []struct {
		name, pem string
		der       []byte
		alg       provider.KeyAlg
	}{
		{"PKCS #8", "PRIVATE KEY", pkcs8, provider.ECDSAP384SHA384},
		{"SEC 1", "EC PRIVATE KEY", sec1, provider.ECDSAP384SHA384},
		{"PKCS #1", "RSA PRIVATE KEY", pkcs1, provider.RSAPSSSHA256},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, b := range [][]byte{tt.der, pem.EncodeToMemory(&pem.Block{Type: tt.pem, Bytes: tt.der})} {
				before := slices.Clone(b)
				m := secretMaterial(b)
				p, err := m.Parse(tt.alg, 0)
				require.NoError(t, err)
				require.NotNil(t, p.Private)
				require.Equal(t, before, m.Private.Expose(), "the caller's material is left alone")
			}
		})
	}
}

func TestThePrivateKeyIsFoundAmongOtherPEMBlocks(t *testing.T) {
	sec1, err := x509.MarshalECPrivateKey(privateKeys(t)[provider.ECDSAP256SHA256].(*ecdsa.PrivateKey))
	require.NoError(t, err)
	file := append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{0x06, 0x00}}), // as openssl ecparam -genkey writes it
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)
	p, err := secretMaterial(file).Parse(provider.ECDSAP256SHA256, 0)
	require.NoError(t, err)
	require.NotNil(t, p.Private)

	_, err = secretMaterial(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("sealed")})).Parse(provider.ECDSAP256SHA256, 0)
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.ErrorContains(t, err, "encrypted")
}

func TestSymmetricMaterial(t *testing.T) {
	for _, tt := range []struct {
		alg   provider.KeyAlg
		bytes int
		valid bool
	}{
		{provider.AES256GCM, 32, true}, {provider.AES256GCM, 31, false}, {provider.AES256GCM, 33, false}, {provider.AES256GCM, 16, false},
		{provider.AES256GCM, 1, false}, {provider.AES256GCM, 0, false},
		{provider.HMACSHA256, 32, true}, {provider.HMACSHA256, 33, true}, {provider.HMACSHA256, 512, true},
		{provider.HMACSHA256, 31, false}, {provider.HMACSHA256, 513, false}, {provider.HMACSHA256, 0, false},
	} {
		b := make([]byte, tt.bytes)
		rand.Read(b)
		p, err := secretMaterial(b).Parse(tt.alg, 0)
		if !tt.valid {
			require.ErrorIs(t, err, provider.ErrInvalid, "%s of %d bytes", tt.alg, tt.bytes)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, b, p.Symmetric.Expose())
		require.Equal(t, 8*tt.bytes, p.Bits)
		require.Nil(t, p.Public)
	}
}

func TestParsedSecretIsNotTheCallers(t *testing.T) {
	m := secretMaterial(make([]byte, 32))
	p, err := m.Parse(provider.AES256GCM, 0)
	require.NoError(t, err)
	m.Private.Wipe()
	require.Len(t, p.Symmetric.Expose(), 32)
}

func TestParsedPublicKeyIsNoPartOfTheCallersBytes(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	want := slices.Clone(public)
	m, err := provider.PublicMaterial(public)
	require.NoError(t, err)
	parsed, err := m.Parse(provider.Ed25519, 0)
	require.NoError(t, err)
	clear(m.Public)
	require.Equal(t, want, parsed.Public)
}

// An RSA key of which one number was changed: it would sign wrongly, and a wrong signature gives the key away.
func TestBrokenRSAKeyIsRefused(t *testing.T) {
	other, two := big.NewInt(3), big.NewInt(2)
	for name, spoil := range map[string]func(k *rsa.PrivateKey){
		"the private exponent": func(k *rsa.PrivateKey) { k.D = new(big.Int).Add(k.D, two) },
		"a prime":              func(k *rsa.PrivateKey) { k.Primes = []*big.Int{new(big.Int).Add(k.Primes[0], two), k.Primes[1]} },
		"d mod p-1":            func(k *rsa.PrivateKey) { k.Precomputed.Dp = new(big.Int).Add(k.Precomputed.Dp, two) },
		"d mod q-1":            func(k *rsa.PrivateKey) { k.Precomputed.Dq = new(big.Int).Add(k.Precomputed.Dq, two) },
		"the coefficient":      func(k *rsa.PrivateKey) { k.Precomputed.Qinv = other },
	} {
		t.Run(name, func(t *testing.T) {
			whole := rsaKey()
			k := rsa.PrivateKey{PublicKey: whole.PublicKey, D: whole.D, Primes: whole.Primes, Precomputed: whole.Precomputed}
			spoil(&k)
			der := pkcs1Of(t, &k)
			_, err := secretMaterial(der).Parse(provider.RSAPSSSHA256, 0)
			require.ErrorIs(t, err, provider.ErrInvalid)
			_, err = secretMaterial(pkcs8Of(t, der)).Parse(provider.RSAPSSSHA256, 0)
			require.ErrorIs(t, err, provider.ErrInvalid)
		})
	}
}

// pkcs1Of encodes the numbers of k as they are (RFC 8017 appendix A.1.2); package x509 computes some of them itself.
func pkcs1Of(t *testing.T, k *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Version      int
		N            *big.Int
		E            int
		D, P, Q      *big.Int
		DP, DQ, Qinv *big.Int
	}{0, k.N, k.E, k.D, k.Primes[0], k.Primes[1], k.Precomputed.Dp, k.Precomputed.Dq, k.Precomputed.Qinv})
	require.NoError(t, err)
	return der
}

// pkcs8Of wraps a PKCS #1 key (RFC 5208 section 5).
func pkcs8Of(t *testing.T, pkcs1 []byte) []byte {
	t.Helper()
	rsaEncryption := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{0, rsaEncryption, pkcs1})
	require.NoError(t, err)
	return der
}

func TestTheNumbersOfAnUnspoiltRSAKeyAreTaken(t *testing.T) {
	der := pkcs1Of(t, rsaKey())
	for _, b := range [][]byte{der, pkcs8Of(t, der)} {
		_, err := secretMaterial(b).Parse(provider.RSAPSSSHA256, 0)
		require.NoError(t, err)
	}
}

func TestPublicMaterialInPEM(t *testing.T) {
	key := publicOf(privateKeys(t)[provider.Ed25519])
	m, err := provider.PublicMaterial(key)
	require.NoError(t, err)
	p, err := provider.KeyMaterial{Public: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: m.Public})}.Parse(provider.Ed25519, 0)
	require.NoError(t, err)
	require.Equal(t, key, p.Public)
	_, err = provider.KeyMaterial{Public: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: m.Public})}.Parse(provider.Ed25519, 0)
	require.ErrorIs(t, err, provider.ErrInvalid, "another label")
}

func TestSizeOfMaterial(t *testing.T) {
	m, err := provider.Material(rsaKey())
	require.NoError(t, err)
	p, err := m.Parse(provider.RSAPSSSHA256, 0)
	require.NoError(t, err)
	require.Equal(t, 2048, p.Bits)
	_, err = m.Parse(provider.RSAPSSSHA256, 2048)
	require.NoError(t, err)
	_, err = m.Parse(provider.RSAPSSSHA256, 3072)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

func TestCheckPublicRefuses(t *testing.T) {
	p256 := privateKeys(t)[provider.ECDSAP256SHA256].(*ecdsa.PrivateKey)
	ecdhP256, err := p256.PublicKey.ECDH()
	require.NoError(t, err)
	at := func(x, y int64) *ecdsa.PublicKey {
		//lint:ignore SA1019 no other way makes a key that is no point of the curve
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(x), Y: big.NewInt(y)}
	}
	modulus := rsaKey().N
	ed, x := publicOf(privateKeys(t)[provider.Ed25519]), publicOf(privateKeys(t)[provider.X25519])
	tests := []struct {
		name string
		alg  provider.KeyAlg
		key  crypto.PublicKey
	}{
		{"nothing", provider.Ed25519, nil},
		{"a nil RSA key", provider.RSAPSSSHA256, (*rsa.PublicKey)(nil)},
		{"a nil EC key", provider.ECDSAP256SHA256, (*ecdsa.PublicKey)(nil)},
		{"a nil X25519 key", provider.X25519, (*ecdh.PublicKey)(nil)},
		{"an RSA key of zeros", provider.RSAPSSSHA256, &rsa.PublicKey{}},
		{"an X25519 key of zeros", provider.X25519, &ecdh.PublicKey{}},
		{"a private key", provider.ECDSAP256SHA256, p256},
		{"another curve", provider.ECDSAP384SHA384, &p256.PublicKey},
		{"a P-256 key of crypto/ecdh", provider.X25519, ecdhP256},
		{"an Ed25519 key for X25519", provider.X25519, ed},
		{"an X25519 key for Ed25519", provider.Ed25519, x},
		{"an RSA key for a curve", provider.ECDSAP256SHA256, &rsaKey().PublicKey},
		{"a public half for a symmetric algorithm", provider.AES256GCM, &rsaKey().PublicKey},
		{"a point at infinity", provider.ECDSAP256SHA256, at(0, 0)},
		{"a point off the curve", provider.ECDSAP256SHA256, at(1, 1)},
		{"no curve", provider.ECDSAP256SHA256, &ecdsa.PublicKey{}},
		{"an Ed25519 key of 31 bytes", provider.Ed25519, make(ed25519.PublicKey, 31)},
		{"RSA without a modulus", provider.RSAPSSSHA256, &rsa.PublicKey{E: 65537}},
		{"RSA with exponent 1", provider.RSAPSSSHA256, &rsa.PublicKey{N: modulus, E: 1}},
		{"RSA with an even exponent", provider.RSAPSSSHA256, &rsa.PublicKey{N: modulus, E: 4}},
		{"RSA with an even modulus", provider.RSAPSSSHA256, &rsa.PublicKey{N: new(big.Int).Add(modulus, big.NewInt(1)), E: 65537}},
		{"RSA of 1024 bits", provider.RSAPSSSHA256, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}},
		{"RSA of 2049 bits", provider.RSAPSSSHA256, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2048, 1), E: 65537}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := provider.CheckPublic(tt.alg, tt.key)
			require.ErrorIs(t, err, provider.ErrInvalid)
		})
	}
}

func TestCheckPublicTellsTheSize(t *testing.T) {
	for alg, private := range privateKeys(t) {
		want, _, _ := alg.Bits()
		bits, err := provider.CheckPublic(alg, publicOf(private))
		require.NoError(t, err)
		require.Equal(t, want, bits, alg)
	}
	_, err := provider.CheckPublic(provider.RSAPSSSHA256, &rsa.PublicKey{N: rsaKey().N, E: 3})
	require.NoError(t, err, "the least exponent")
}

func TestAKeyThatIsNoneIsRefused(t *testing.T) {
	for _, key := range []crypto.PrivateKey{nil, (*rsa.PrivateKey)(nil), &rsa.PrivateKey{}, (*ecdsa.PrivateKey)(nil), &ecdsa.PrivateKey{},
		ed25519.PrivateKey(nil), make(ed25519.PrivateKey, 5), (*ecdh.PrivateKey)(nil), &ecdh.PrivateKey{}} {
		_, err := provider.Material(key)
		require.ErrorIs(t, err, provider.ErrInvalid, "%T", key)
	}
	for _, key := range []crypto.PublicKey{nil, (*rsa.PublicKey)(nil), &rsa.PublicKey{}, (*ecdsa.PublicKey)(nil), &ecdsa.PublicKey{},
		(*ecdh.PublicKey)(nil), &ecdh.PublicKey{}} {
		_, err := provider.PublicMaterial(key)
		require.ErrorIs(t, err, provider.ErrInvalid, "%T", key)
		_, err = provider.Thumbprint(key)
		require.ErrorIs(t, err, provider.ErrInvalid, "%T", key)
	}
	p256, err := privateKeys(t)[provider.ECDSAP256SHA256].(*ecdsa.PrivateKey).PublicKey.ECDH()
	require.NoError(t, err)
	_, err = provider.Thumbprint(p256)
	require.ErrorIs(t, err, provider.ErrInvalid, "it is on no curve of which a *ecdh.PublicKey is taken")
}

func TestMaterialOfAnotherLibraryIsRefused(t *testing.T) {
	_, err := provider.Material("a key")
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = provider.PublicMaterial("a key")
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = provider.KeyMaterial{}.Parse("ROT13", 0)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

// FuzzMaterial feeds what a stranger may hand in to every algorithm: it is taken whole or refused as ErrInvalid.
func FuzzMaterial(f *testing.F) {
	for alg, private := range privateKeys(f) {
		m, err := provider.Material(private)
		require.NoError(f, err)
		public, err := provider.PublicMaterial(publicOf(private))
		require.NoError(f, err)
		i := slices.Index(provider.Algs(), alg)
		f.Add(i, m.Private.Expose(), public.Public)
		f.Add(i, m.Private.Expose(), []byte(nil))
		f.Add(i, []byte(nil), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public.Public}))
		f.Add(i, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: m.Private.Expose()}), public.Public)
	}
	f.Add(0, make([]byte, 32), []byte(nil))
	f.Add(1, []byte("correct horse battery staple"), []byte("x"))
	f.Fuzz(func(t *testing.T, i int, private, public []byte) {
		alg := provider.Algs()[uint(i)%uint(len(provider.Algs()))]
		p, err := provider.KeyMaterial{Private: provider.NewSecret(private), Public: public}.Parse(alg, 0)
		if err != nil {
			require.ErrorIs(t, err, provider.ErrInvalid)
			if len(private) >= 16 {
				require.NotContains(t, err.Error(), string(private[:16]))
			}
			return
		}
		spec := provider.KeySpec{Alg: alg, Bits: p.Bits}
		if least, _, most := alg.Bits(); least == most {
			spec.Bits = 0
		}
		_, err = spec.Normalize()
		require.NoError(t, err, "a size that the contract allows")
		if alg.Class() == provider.Asymmetric {
			_, err = provider.NewJWK(provider.KeyRef{KID: "k", Version: 1, Alg: alg}, p.Public)
			require.NoError(t, err, "a key that can be published")
		}
	})
}
