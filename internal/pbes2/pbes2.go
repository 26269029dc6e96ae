// Package pbes2 encrypts private keys under a passphrase and decrypts them: EncryptedPrivateKeyInfo (RFC 5958 section 3) with PBES2
// (RFC 8018 section 6.2), the "ENCRYPTED PRIVATE KEY" of PEM. It reads what OpenSSL, Java and Go tools write with PBKDF2 and AES in CBC.
package pbes2

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"hash"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ErrPassphrase means that the passphrase is wrong, or the content damaged: PBES2 can't tell which.
var ErrPassphrase = errors.New("wrong passphrase, or damaged")

const (
	iterations = 600_000 // of what Encrypt makes
	// maxIterations bounds the work that a file can cause: some ten seconds.
	maxIterations = 10_000_000
	saltSize      = 16
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}

	hashes = []prf{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, sha256.New}, // the first is what Encrypt uses
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}, sha1.New},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}, sha512.New384},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}, sha512.New},
	}
	ciphers = []struct {
		oid  asn1.ObjectIdentifier
		size int // of the key in bytes
	}{
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, 32}, // the first is what Encrypt uses
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, 24},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, 16},
	}
)

// prf is a hash whose HMAC PBKDF2 uses.
type prf struct {
	oid asn1.ObjectIdentifier
	new func() hash.Hash
}

type algorithm struct {
	OID    asn1.ObjectIdentifier
	Params asn1.RawValue `asn1:"optional"`
}

type encryptedKey struct {
	Algorithm algorithm
	Data      []byte
}

type parameters struct {
	KDF, Cipher algorithm
}

type kdfParameters struct {
	Salt       []byte
	Iterations int
	KeySize    int       `asn1:"optional"`
	PRF        algorithm `asn1:"optional"` // absent: HMAC with SHA-1
}

// Is tells whether der has the form of an EncryptedPrivateKeyInfo.
func Is(der []byte) bool {
	var key encryptedKey
	rest, err := asn1.Unmarshal(der, &key)
	return err == nil && len(rest) == 0
}

// Decrypt returns the PKCS #8 key in DER that der encrypts. The caller wipes it. [provider.ErrInvalid] for what is no
// EncryptedPrivateKeyInfo; [provider.ErrUnsupported] for an algorithm that this package does not know; [ErrPassphrase].
func Decrypt(der, passphrase []byte) ([]byte, error) {
	var key encryptedKey
	if rest, err := asn1.Unmarshal(der, &key); err != nil || len(rest) > 0 {
		return nil, provider.Invalidf("encrypted private key of %d bytes: want EncryptedPrivateKeyInfo in DER", len(der))
	}
	if !key.Algorithm.OID.Equal(oidPBES2) {
		return nil, provider.Unsupportedf("encrypted private key with algorithm %v: want PBES2, as openssl pkcs8 -topk8 writes it", key.Algorithm.OID)
	}
	var p parameters
	if rest, err := asn1.Unmarshal(key.Algorithm.Params.FullBytes, &p); err != nil || len(rest) > 0 {
		return nil, provider.Invalidf("encrypted private key: want the parameters of PBES2")
	}
	block, iv, err := p.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	if len(key.Data) == 0 || len(key.Data)%aes.BlockSize != 0 {
		return nil, provider.Invalidf("encrypted private key: %d bytes of ciphertext: want whole blocks", len(key.Data))
	}
	plain := make([]byte, len(key.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, key.Data)
	n := int(plain[len(plain)-1])
	var inner asn1.RawValue
	if n >= 1 && n <= aes.BlockSize {
		if rest, err := asn1.Unmarshal(plain[:len(plain)-n], &inner); err == nil && len(rest) == 0 {
			return plain[:len(plain)-n], nil
		}
	}
	clear(plain)
	return nil, ErrPassphrase
}

// cipher derives the key. It returns the cipher and its initialisation vector.
func (p parameters) cipher(passphrase []byte) (cipher.Block, []byte, error) {
	size := 0
	for _, c := range ciphers {
		if c.oid.Equal(p.Cipher.OID) {
			size = c.size
		}
	}
	var iv []byte
	switch rest, err := asn1.Unmarshal(p.Cipher.Params.FullBytes, &iv); {
	case size == 0:
		return nil, nil, provider.Unsupportedf("encrypted private key with cipher %v: want AES in CBC", p.Cipher.OID)
	case err != nil || len(rest) > 0 || len(iv) != aes.BlockSize:
		return nil, nil, provider.Invalidf("encrypted private key: want an initialisation vector of %d bytes", aes.BlockSize)
	}
	key, err := p.deriveKey(passphrase, size)
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	return block, iv, err
}

func (p parameters) deriveKey(passphrase []byte, size int) ([]byte, error) {
	if !p.KDF.OID.Equal(oidPBKDF2) {
		return nil, provider.Unsupportedf("encrypted private key with key derivation %v: want PBKDF2", p.KDF.OID)
	}
	var k kdfParameters
	if rest, err := asn1.Unmarshal(p.KDF.Params.FullBytes, &k); err != nil || len(rest) > 0 || len(k.Salt) == 0 {
		return nil, provider.Invalidf("encrypted private key: want the parameters of PBKDF2")
	}
	if k.Iterations < 1 || k.Iterations > maxIterations || k.KeySize != 0 && k.KeySize != size {
		return nil, provider.Invalidf("encrypted private key: PBKDF2 with %d iterations, key of %d bytes: want 1 to %d, and %d", k.Iterations, k.KeySize, maxIterations, size)
	}
	hash := sha1.New
	if len(k.PRF.OID) > 0 {
		i := slices.IndexFunc(hashes, func(h prf) bool { return h.oid.Equal(k.PRF.OID) })
		if i < 0 {
			return nil, provider.Unsupportedf("encrypted private key: PBKDF2 with %v: want HMAC with SHA-1 or SHA-2", k.PRF.OID)
		}
		hash = hashes[i].new
	}
	return pbkdf2.Key(hash, string(passphrase), k.Salt, k.Iterations, size)
}

// Encrypt encrypts a PKCS #8 key in DER: PBKDF2 with HMAC-SHA-256, AES-256 in CBC. [provider.ErrInvalid] for an empty passphrase.
func Encrypt(pkcs8, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, provider.Invalidf("empty passphrase")
	}
	salt, iv := make([]byte, saltSize), make([]byte, aes.BlockSize)
	rand.Read(salt)
	rand.Read(iv)
	var p parameters
	var err error
	k := kdfParameters{Salt: salt, Iterations: iterations, PRF: algorithm{hashes[0].oid, asn1.NullRawValue}}
	if p.KDF, err = withParams(oidPBKDF2, k); err != nil {
		return nil, err
	}
	if p.Cipher, err = withParams(ciphers[0].oid, iv); err != nil {
		return nil, err
	}
	block, _, err := p.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	n := aes.BlockSize - len(pkcs8)%aes.BlockSize
	data := slices.Grow(slices.Clone(pkcs8), n)
	for range n {
		data = append(data, byte(n))
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	a, err := withParams(oidPBES2, p)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(encryptedKey{a, data})
}

func withParams(oid asn1.ObjectIdentifier, params any) (algorithm, error) {
	der, err := asn1.Marshal(params)
	return algorithm{oid, asn1.RawValue{FullBytes: der}}, err
}
