package softfile

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hsmmirror/hsmmirror/internal/keywrap"
	"github.com/hsmmirror/hsmmirror/provider"
)

// The algorithms of a store's JWEs (RFC 7518 sections 4.4, 4.8 and 5.3), and what is in them (RFC 7517 section 8.5).
const (
	algStoreKey   = "A256KW"             // under the store key
	algPassphrase = "PBES2-HS512+A256KW" // under a passphrase
	encGCM        = "A256GCM"
	ctyJWK        = "jwk+json"     // of what stands in the store
	ctyJWKSet     = "jwk-set+json" // of an export of the store
)

const (
	keySize  = 32 // of the store key, of every content key and of what a passphrase becomes
	saltSize = 16
	ivSize   = 12
	tagSize  = 16

	// iterations is what OWASP's password storage cheat sheet asks of PBKDF2-HMAC-SHA-512: about 0.1 s.
	iterations = 210_000

	// Bounds of what is accepted: RFC 7518 section 4.8.1.2 asks for 1,000, and a file must not keep a program busy for
	// more than some seconds.
	minIterations = 1000
	maxIterations = 10_000_000
)

// jweHeader is the protected header of a JWE. It has no other member; above all no zip, so that no small file becomes a
// large one.
type jweHeader struct {
	Alg string `json:"alg"`
	Enc string `json:"enc"`
	Cty string `json:"cty"`
	KID string `json:"kid,omitempty"` // the store key's: it is inside, or was encrypted with; none in an export
	P2S string `json:"p2s,omitempty"` // PBES2 salt
	P2C int    `json:"p2c,omitempty"` // PBES2 iterations
}

// jwe is a JWE in compact serialization (RFC 7516 section 7.1), taken apart.
type jwe struct {
	header                   jweHeader
	protected                string // the header as it stands, which is authenticated
	key, iv, ciphertext, tag []byte
}

var b64 = base64.RawURLEncoding.Strict()

// parseJWE takes a compact JWE apart. It accepts the two headers that a store has in its files, and nothing else.
func parseJWE(s string) (jwe, error) {
	j, err := splitJWE(s)
	if err == nil {
		err = j.check(ctyJWK)
	}
	return j, err
}

// parseSetJWE takes an export apart: a JWK Set under a passphrase.
func parseSetJWE(s string) (jwe, error) {
	j, err := splitJWE(s)
	if err == nil {
		err = j.check(ctyJWKSet)
	}
	if err == nil && j.header.Alg != algPassphrase {
		err = fmt.Errorf("JWE of alg %s: want %s", j.header.Alg, algPassphrase)
	}
	return j, err
}

func splitJWE(s string) (jwe, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 5 {
		return jwe{}, fmt.Errorf("JWE of %d parts: want 5", len(parts))
	}
	var raw [5][]byte
	for i, p := range parts {
		b, err := b64.DecodeString(p)
		if err != nil {
			return jwe{}, fmt.Errorf("JWE part %d: not base64url", i+1)
		}
		raw[i] = b
	}
	j := jwe{protected: parts[0], key: raw[1], iv: raw[2], ciphertext: raw[3], tag: raw[4]}
	if err := decodeStrict(raw[0], &j.header); err != nil {
		return jwe{}, fmt.Errorf("JWE header: %w", err)
	}
	return j, nil
}

func (j jwe) check(cty string) error {
	h := j.header
	salt, err := b64.DecodeString(h.P2S)
	switch {
	case h.Enc != encGCM || h.Cty != cty:
		return fmt.Errorf("JWE of enc %.20q and cty %.20q: want %s and %s", h.Enc, h.Cty, encGCM, cty)
	case cty == ctyJWK && h.KID == "" || len(h.KID) > 64:
		return errors.New("JWE header: want a kid of 1 to 64 bytes")
	case h.Alg == algStoreKey && (h.P2S != "" || h.P2C != 0):
		return fmt.Errorf("JWE of alg %s: want no p2s and p2c", h.Alg)
	case h.Alg == algPassphrase && (err != nil || len(salt) < 8 || h.P2C < minIterations || h.P2C > maxIterations):
		return fmt.Errorf("JWE of alg %s: want a p2s of 8 bytes or more and a p2c of %d to %d", h.Alg, minIterations, maxIterations)
	case h.Alg != algStoreKey && h.Alg != algPassphrase:
		return fmt.Errorf("JWE of alg %.40q: want %s or %s", h.Alg, algStoreKey, algPassphrase)
	case len(j.key) != keySize+8 || len(j.iv) != ivSize || len(j.tag) != tagSize:
		return errors.New("JWE: key, IV or tag of the wrong length")
	}
	return nil
}

// open returns the plaintext, which the caller wipes. keywrap.ErrUnwrap if kek is not the key, or a byte was changed.
func (j jwe) open(kek []byte) ([]byte, error) {
	cek, err := keywrap.Unwrap(kek, j.key)
	if err != nil {
		return nil, err
	}
	defer clear(cek)
	gcm, err := newGCM(cek)
	if err != nil {
		return nil, err
	}
	plaintext, err := gcm.Open(nil, nil, slices.Concat(j.iv, j.ciphertext, j.tag), []byte(j.protected))
	if err != nil {
		return nil, keywrap.ErrUnwrap
	}
	return plaintext, nil
}

// sealJWE encrypts plaintext with a content key of its own, which is wrapped with kek. A header without cty is that of a JWK.
func sealJWE(h jweHeader, kek, plaintext []byte) (string, error) {
	h.Enc, h.Cty = encGCM, cmp.Or(h.Cty, ctyJWK)
	header, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	cek := random(keySize)
	defer clear(cek)
	key, err := keywrap.Wrap(kek, cek)
	if err != nil {
		return "", err
	}
	gcm, err := newGCM(cek)
	if err != nil {
		return "", err
	}
	protected := b64.EncodeToString(header)
	sealed := gcm.Seal(nil, nil, plaintext, []byte(protected))
	text := protected + "." + b64.EncodeToString(key)
	for _, part := range [][]byte{sealed[:ivSize], sealed[ivSize : ivSize+len(plaintext)], sealed[ivSize+len(plaintext):]} {
		text += "." + b64.EncodeToString(part)
	}
	return text, nil
}

// derive makes the key encryption key of PBES2 (RFC 7518 section 4.8.1) from a passphrase. The caller wipes it.
func (h jweHeader) derive(passphrase []byte) ([]byte, error) {
	salt, err := b64.DecodeString(h.P2S)
	if err != nil {
		return nil, err
	}
	salt = append([]byte(h.Alg+"\x00"), salt...)
	key, err := pbkdf2.Key(sha512.New, string(passphrase), salt, h.P2C, keySize)
	if err != nil {
		return nil, provider.Unsupportedf("%v", err) // in FIPS 140-only mode, for a short passphrase
	}
	return key, nil
}

// newGCM returns a cipher whose messages are IV, ciphertext and tag.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}
