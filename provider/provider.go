package provider

import (
	"context"
	"crypto"
	"crypto/ecdh"
)

// AllVersions is the version that makes DestroyKey destroy every version of a key.
const AllVersions = -1

// Provider is a store of keys. providertest.Run checks every sentence of this contract.
//
// Each method returns the context's error if the context has ended, [ErrClosed] after Close, [ErrInvalid] for an argument
// that breaks a rule, and [ErrUnavailable] if the store can't answer. The further errors stand at each method.
type Provider interface {
	// Capabilities says what the store can do now.
	Capabilities(ctx context.Context) (Capabilities, error)

	// CreateKey makes a new key in the store and returns its first version, which is active at once. The version is 1
	// unless the kid was used before. ErrExists if the kid has a version; ErrUnsupported if the store can't make such a
	// key.
	CreateKey(ctx context.Context, spec KeySpec) (KeyRef, error)

	// ImportKey is CreateKey with given material. A public half alone makes a key that verifies and encrypts only.
	// ErrInvalid if the material does not fit the spec, or its halves each other.
	ImportKey(ctx context.Context, spec KeySpec, material KeyMaterial) (KeyRef, error)

	// RotateKey makes the next version of a key: the same algorithm, uses and export policy. ErrNotFound if the kid has
	// no version; ErrUnsupported if the key was imported without its private half.
	RotateKey(ctx context.Context, kid string, r Rotation) (KeyRef, error)

	// DestroyKey destroys one version, or every version if version is AllVersions. 0 is ErrInvalid: the latest may
	// change under the caller. ErrNotFound if there is none. When it returns without an error, every version that
	// Destruction names is gone from the store for good.
	DestroyKey(ctx context.Context, kid string, version int) (Destruction, error)

	// GetKey describes a version; 0 is the highest one, whatever its state. ErrNotFound.
	GetKey(ctx context.Context, kid string, version int) (KeyRef, error)

	// ListKeys describes the highest version of every key, in ascending order of kid.
	ListKeys(ctx context.Context) (KeyList, error)

	// ListVersions describes every version of a key in ascending order. ErrNotFound if it has none.
	ListVersions(ctx context.Context, kid string) (KeyList, error)

	// PublicJWK returns the public JWK of a version; 0 is the highest one. ErrNotFound; ErrUnsupported for a symmetric
	// key, which has none.
	PublicJWK(ctx context.Context, kid string, version int) (JWK, error)

	// JWKS returns the public JWKs of all published versions (pending, active and retiring) of every key whose kid
	// begins with prefix, in ascending order of kid and version. Symmetric keys are left out.
	JWKS(ctx context.Context, prefix string) (JWKSet, error)

	// RandomBytes returns n bytes, 0 to MaxRandomBytes, from the store's random number generator.
	RandomBytes(ctx context.Context, n int) ([]byte, error)

	// HKDF returns length bytes, 0 to MaxHKDFBytes, of HKDF-SHA-256 (RFC 5869). A nil salt means 32 zero bytes.
	HKDF(ctx context.Context, ikm, salt, info []byte, length int) ([]byte, error)

	// Close ends the use of the store and of everything that was obtained from it. Closing twice is no error.
	Close() error
}

// KeyList is an answer about several versions.
type KeyList struct {
	Keys []KeyRef
	// Problems names what the store holds and can't read, one error for each, with its place. It hides no other key.
	Problems   []error
	Provenance Provenance
}

// Destruction is the answer of DestroyKey.
type Destruction struct {
	KID      string
	Versions []int // what was destroyed, ascending
	// Mirroring says what became of the destroy on a mirror's secondary; nil from stores that mirror nothing.
	Mirroring *Mirroring
}

// Signing is satisfied by stores that sign.
type Signing interface {
	// Signer returns the signer of a version; 0 is the active one. The signer satisfies crypto.Signer and signs through
	// crypto/tls, crypto/x509, golang.org/x/crypto/ssh and jws. ECDSA signatures are ASN.1 DER as crypto/ecdsa makes
	// them; the digest may be of SHA-256, SHA-384 or SHA-512, as the protocol asks, and the padding of RSA is always
	// the algorithm's: of RSA, TLS wants RSA_PSS_SHA256, which crypto/x509 has to be told by the template (SHA256WithRSAPSS), and
	// SSH and golang.org/x/crypto/ocsp want RSA_PKCS1_SHA256. Nil options are those of KeyAlg.SignerOpts. Its Sign may block for as
	// long as the store's time limit. ErrNotFound, also if version is 0 and none is active; ErrUnsupported if the key does not
	// sign or the store holds only the public half; ErrInvalid if the key's uses do not name sign.
	//
	// Who signs for long asks for version 0 again for each signature, which costs next to nothing, and so follows a rotation. A
	// signer outlives outages of its store: each Sign during one is ErrUnavailable.
	Signer(ctx context.Context, kid string, version int) (Signer, error)
}

// Signer signs with one version. It stays bound to that version.
type Signer interface {
	crypto.Signer
	// SignContext is Sign that also ends with ctx.
	SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
	// KeyRef describes the version.
	KeyRef() KeyRef
}

// Decrypting is satisfied by stores that decrypt with an RSA_OAEP_SHA256 key.
type Decrypting interface {
	// Decrypter returns the decrypter of a version; 0 is the highest one. Its options are nil or *rsa.OAEPOptions with
	// SHA-256 and any label. For jwe wrap it in a jwe.KeyDecrypter, as the example of Decrypter does. Errors as for Signer.
	Decrypter(ctx context.Context, kid string, version int) (Decrypter, error)
}

// Decrypter decrypts with one version.
type Decrypter interface {
	crypto.Decrypter
	// DecryptContext is Decrypt that also ends with ctx.
	DecryptContext(ctx context.Context, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error)
	// KeyRef describes the version.
	KeyRef() KeyRef
}

// Encrypting is satisfied by stores with AES256_GCM keys.
type Encrypting interface {
	// AEAD returns the cipher of a version; 0 is the highest one. Errors as for Signer.
	AEAD(ctx context.Context, kid string, version int) (AEAD, error)
}

// AEAD is AES-256 in GCM (NIST SP 800-38D) under one version. The message is the 12-byte nonce, which the store draws at
// random, then the ciphertext, then the 16-byte tag.
type AEAD interface {
	Encrypt(ctx context.Context, plaintext, additionalData []byte) ([]byte, error)
	// Decrypt returns ErrInvalid, and no plaintext, for a message that this key did not make with this additional data.
	Decrypt(ctx context.Context, message, additionalData []byte) ([]byte, error)
}

// Authenticating is satisfied by stores with HMAC_SHA256 keys.
type Authenticating interface {
	// MAC returns the authenticator of a version; 0 is the highest one. Errors as for Signer.
	MAC(ctx context.Context, kid string, version int) (MAC, error)
}

// MAC is HMAC-SHA-256 (RFC 2104) under one version.
type MAC interface {
	// Sum returns the 32-byte code of message.
	Sum(ctx context.Context, message []byte) ([]byte, error)
	// Verify returns nil if code is that of message, ErrInvalid if not, in time that does not depend on where they differ.
	Verify(ctx context.Context, message, code []byte) error
}

// KeyAgreement is satisfied by stores with X25519 keys.
type KeyAgreement interface {
	// ECDH returns the shared secret of a version (0: the highest one) and a peer's public key, for use as HKDF input.
	// ErrInvalid for a peer of another curve or of low order; other errors as for Signer.
	ECDH(ctx context.Context, kid string, version int, peer *ecdh.PublicKey) (Secret, error)
}

// Exporting is satisfied by stores that hand out private and secret material.
type Exporting interface {
	// ExportKey returns the private half of a version as PKCS #8 DER (RFC 5958), or a symmetric key as its bytes; 0 is
	// the highest version. The caller wipes it. ErrNotExportable unless the policy is secret_when_allowed and the store
	// can hand the key out; ErrNotFound.
	ExportKey(ctx context.Context, kid string, version int) (Secret, error)
}

// Replica is satisfied by stores that keep copies of versions under the kid and version of their origin.
type Replica interface {
	// PutVersion stores a copy of the version that ref describes: its public half, and its private or secret half too if
	// material holds one. It stores ref's schedule, times, policy and tags. Repeating it is no error and changes
	// nothing that is the same; ErrExists if another key stands there, or if the version was destroyed there.
	PutVersion(ctx context.Context, ref KeyRef, material KeyMaterial) (KeyRef, error)
}

// Checking is satisfied by stores that can tell how they are.
type Checking interface {
	// Health returns nil if the store can do its work now, else the error that its next operation would likely return.
	Health(ctx context.Context) error
}

// Resolving is satisfied by stores whose URIs can name a key in their own way.
type Resolving interface {
	// KeyByURI describes the key that uri names. ErrInvalid if uri names none or is of another store; ErrNotFound.
	KeyByURI(ctx context.Context, uri string) (KeyRef, error)
}
