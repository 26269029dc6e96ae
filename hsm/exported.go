package hsm

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hsmmirror/hsmmirror/provider"
)

// maxPadding is how many zeros SoftHSM2 appends at most to a key, so that its length is a multiple of 8 bytes, before it wraps it by a
// mechanism that needs no such thing.
const maxPadding = 7

// exportedPrivate returns the private half that a token gave as PKCS #8, encoded as crypto/x509 does, if it belongs to the public half
// that was proved when the version was made. [provider.ErrTampered] otherwise, with no byte of it in the text.
func exportedPrivate(r *record, plain []byte) (provider.Secret, error) {
	rest, der := cryptobyte.String(plain), cryptobyte.String(nil)
	if !rest.ReadASN1Element(&der, cbasn1.SEQUENCE) || !isPadding(rest) {
		return provider.Secret{}, anotherKey(r)
	}
	material := provider.KeyMaterial{Private: provider.NewSecret(der)}
	defer material.Private.Wipe()
	parsed, err := material.Parse(r.Alg, r.Bits)
	if err != nil {
		return provider.Secret{}, anotherKey(r)
	}
	if print, err := provider.Thumbprint(parsed.Public); err != nil || print != r.Fingerprint {
		return provider.Secret{}, anotherKey(r)
	}
	return pkcs8Secret(parsed.Private)
}

// exportedSecret returns the symmetric key that a token gave, without padding; it shares the memory of plain. Errors as for
// exportedPrivate.
func exportedSecret(r *record, plain []byte) ([]byte, error) {
	n := r.Bits / 8
	if len(plain) < n || !isPadding(plain[n:]) {
		return nil, anotherKey(r)
	}
	return plain[:n], nil
}

func isPadding(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return len(b) <= maxPadding
}

func anotherKey(r *record) error {
	return fmt.Errorf("%w: export %q: what the token gave is not this key", provider.ErrTampered, r.jwkKID())
}

// pkcs8OfValue returns the PKCS #8 (RFC 8410 section 7) of the private key with a CKA_VALUE: the seed of Ed25519, the scalar of X25519.
// The caller wipes it. [provider.ErrUnsupported] for a value of another length.
func pkcs8OfValue(alg provider.KeyAlg, value []byte) ([]byte, error) {
	if len(value) != 32 {
		return nil, provider.Unsupportedf("its CKA_VALUE has %d bytes: want 32", len(value))
	}
	head := []byte{0x30, 46, 0x02, 1, 0, 0x30, 5} // version 0, and an AlgorithmIdentifier of the OID alone
	return slices.Concat(head, curveFor(alg).oid, derHeader(0x04, 34), derHeader(0x04, 32), value), nil
}

func pkcs8Secret(key crypto.PrivateKey) (provider.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return provider.Secret{}, provider.Unsupportedf("PKCS #8 of a %T", key)
	}
	defer clear(der)
	return provider.NewSecret(der), nil
}
