package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/pbes2"
	"github.com/hsmmirror/hsmmirror/provider"
)

func TestTheKeyThatAFileHolds(t *testing.T) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	agree, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{9}, 32))
	require.NoError(t, err)
	agreeSPKI, err := x509.MarshalPKIXPublicKey(agree.PublicKey())
	require.NoError(t, err)
	sealed, err := pbes2.Encrypt(pkcs8, []byte("correct-horse"))
	require.NoError(t, err)
	block := func(typ string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	braced := "{" + string(bytes.Repeat([]byte{0xff}, 31))
	secret := string(bytes.Repeat([]byte{0xaa, '\n'}, 16))
	tests := []struct {
		name            string
		alg             provider.KeyAlg
		file            string
		private, public []byte
		err             string // in place of both
	}{
		{"PKCS #8", provider.Ed25519, string(pkcs8), pkcs8, nil, ""},
		{"a private key in PEM, behind its parameters", provider.Ed25519, "text\n" + block("EC PARAMETERS", []byte{5, 0}) + block("PRIVATE KEY", pkcs8), pkcs8, nil, ""},
		{"the private key counts, wherever it stands", provider.Ed25519, block("PUBLIC KEY", agreeSPKI) + block("PRIVATE KEY", pkcs8), pkcs8, nil, ""},
		{"a public key", provider.Ed25519, string(spki), nil, spki, ""},
		{"the first of two public keys", provider.Ed25519, block("PUBLIC KEY", spki) + block("PUBLIC KEY", agreeSPKI), nil, spki, ""},
		{"an encrypted private key", provider.Ed25519, string(sealed), pkcs8, nil, ""},
		{"an encrypted private key in PEM", provider.Ed25519, block("ENCRYPTED PRIVATE KEY", sealed), pkcs8, nil, ""},
		{"a private key that OpenSSL encrypted in its old way", provider.RSAPSSSHA256,
			"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", nil, nil, "openssl pkcs8 -topk8"},
		{"a certificate", provider.Ed25519, block("CERTIFICATE", spki), nil, nil, "no PRIVATE KEY and no PUBLIC KEY"},
		{"a secret key", provider.AES256GCM, secret, []byte(secret), nil, ""},
		{"a secret key that begins as JSON does", provider.AES256GCM, braced, []byte(braced), nil, ""},
		{"half of a JWK is no secret key", provider.HMACSHA256, `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-E`, nil, nil, "want one key of type oct"},
		{"a secret JWK", provider.HMACSHA256, ` {"kty":"oct","k":"AyM1"}` + "\n", []byte{3, 0x23, 0x35}, nil, ""},
		{"a public JWK", provider.Ed25519, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, base64url(private.Public().(ed25519.PublicKey))), nil, spki, ""},
		{"a private JWK", provider.Ed25519, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"d":%q}`, base64url(private.Public().(ed25519.PublicKey)), base64url(private.Seed())), pkcs8, nil, ""},
		{"a public JWK to agree with", provider.X25519, fmt.Sprintf(`{"kty":"OKP","crv":"X25519","x":%q}`, base64url(agree.PublicKey().Bytes())), nil, agreeSPKI, ""},
		{"a JWK of another type", provider.ECDSAP256SHA256, `{"kty":"oct","k":"AyM1"}`, nil, nil, "want one key of type EC P-256"},
		{"nothing", provider.Ed25519, "", nil, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := keyMaterial(test.alg, []byte(test.file), func(der []byte) ([]byte, error) {
				require.Equal(t, sealed, der)
				return bytes.Clone(pkcs8), nil
			})
			if test.err != "" {
				require.ErrorIs(t, err, provider.ErrInvalid)
				require.ErrorContains(t, err, test.err)
				require.Zero(t, m)
				return
			}
			require.NoError(t, err)
			require.Equal(t, string(test.private), string(m.Private.Expose()))
			require.Equal(t, test.public, m.Public)
		})
	}
}

// What was decrypted is wiped, and so is what of the file was secret; the key itself is a copy.
func TestNoSecondCopyOfAKeyIsLeft(t *testing.T) {
	der, plain := []byte("sealed"), []byte("the key, in plain text")
	m, err := sealedMaterial(der, func([]byte) ([]byte, error) { return plain, nil })
	require.NoError(t, err)
	require.Equal(t, make([]byte, len(plain)), plain)
	require.Equal(t, "the key, in plain text", string(m.Private.Expose()))

	plain = []byte("half of the key")
	_, err = sealedMaterial(der, func([]byte) ([]byte, error) { return plain, errors.New("damaged") })
	require.Error(t, err)
	require.Equal(t, make([]byte, len(plain)), plain)
}
