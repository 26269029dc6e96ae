package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// outsider is a key that was made outside of the store, with what the test must know to check the store's answers.
type outsider struct {
	alg       provider.KeyAlg
	private   crypto.PrivateKey // nil for a symmetric key
	public    crypto.PublicKey
	symmetric []byte
	bits      int
}

// outsideRSA is one for all tests: it is slow to make.
var outsideRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, provider.MinRSABits)
	if err != nil {
		panic(err)
	}
	return k
})

// newOutsider makes a key for alg.
func newOutsider(t *testing.T, alg provider.KeyAlg) outsider {
	t.Helper()
	o := outsider{alg: alg}
	_, o.bits, _ = alg.Bits()
	if alg.Class() == provider.Symmetric {
		o.symmetric = make([]byte, o.bits/8)
		rand.Read(o.symmetric)
		return o
	}
	if alg.KeyType() == "RSA" {
		o.private, o.bits = outsideRSA(), provider.MinRSABits
	} else {
		var err error
		o.private, err = generatePrivate(alg, 0)
		require.NoError(t, err)
	}
	o.public = o.private.(interface{ Public() crypto.PublicKey }).Public()
	return o
}

// material returns the key as a caller hands it in.
func (o outsider) material(t *testing.T) provider.KeyMaterial {
	t.Helper()
	if o.private == nil {
		return provider.KeyMaterial{Private: provider.NewSecret(o.symmetric)}
	}
	m, err := provider.Material(o.private)
	require.NoError(t, err)
	return m
}

// publicMaterial returns the public half as a caller hands it in.
func (o outsider) publicMaterial(t *testing.T) provider.KeyMaterial {
	t.Helper()
	m, err := provider.PublicMaterial(o.public)
	require.NoError(t, err)
	return m
}

// form is one way to write down a private key.
type form struct {
	name string
	der  []byte
	pem  string // type of the PEM block
}

// forms returns every way to write down the private half that the contract names.
func (o outsider) forms(t *testing.T) []form {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(o.private)
	require.NoError(t, err)
	all := []form{{"PKCS #8", pkcs8, "PRIVATE KEY"}}
	switch k := o.private.(type) {
	case *rsa.PrivateKey:
		all = append(all, form{"PKCS #1", x509.MarshalPKCS1PrivateKey(k), "RSA PRIVATE KEY"})
	case *ecdsa.PrivateKey:
		sec1, err := x509.MarshalECPrivateKey(k)
		require.NoError(t, err)
		all = append(all, form{"SEC 1", sec1, "EC PRIVATE KEY"})
	}
	return all
}

func toPEM(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}
