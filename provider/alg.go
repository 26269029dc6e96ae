package provider

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // linked in, so that KeyAlg.Hash is always available
	_ "crypto/sha512"
	"slices"
)

// KeyAlg is what a key is for: its type, its parameters and the one scheme that it is used with.
type KeyAlg string

// The algorithms of the contract, with the JWA name of each (RFC 7518, RFC 8037).
const (
	AES256GCM       KeyAlg = "AES256_GCM"        // A256GCM: 256-bit AES in GCM
	HMACSHA256      KeyAlg = "HMAC_SHA256"       // HS256: HMAC with SHA-256, key of 32 to 512 bytes
	Ed25519         KeyAlg = "ED25519"           // EdDSA: Ed25519 (RFC 8032)
	X25519          KeyAlg = "X25519"            // ECDH-ES: X25519 (RFC 7748)
	RSAOAEPSHA256   KeyAlg = "RSA_OAEP_SHA256"   // RSA-OAEP-256: OAEP with SHA-256 and MGF1-SHA-256
	RSAPSSSHA256    KeyAlg = "RSA_PSS_SHA256"    // PS256: RSASSA-PSS, salt as long as the hash
	RSAPKCS1SHA256  KeyAlg = "RSA_PKCS1_SHA256"  // RS256: RSASSA-PKCS1-v1_5
	ECDSAP256SHA256 KeyAlg = "ECDSA_P256_SHA256" // ES256
	ECDSAP384SHA384 KeyAlg = "ECDSA_P384_SHA384" // ES384
	ECDSAP521SHA512 KeyAlg = "ECDSA_P521_SHA512" // ES512
)

// KeyClass says whether a key has a public half.
type KeyClass string

// The classes of keys.
const (
	Symmetric  KeyClass = "symmetric"
	Asymmetric KeyClass = "asymmetric"
)

// KeyUse is one thing that a key may be used for.
type KeyUse string

// The uses of keys.
const (
	UseSign    KeyUse = "sign"
	UseVerify  KeyUse = "verify"
	UseEncrypt KeyUse = "encrypt"
	UseDecrypt KeyUse = "decrypt"
	UseWrap    KeyUse = "wrap"
	UseUnwrap  KeyUse = "unwrap"
	UseDerive  KeyUse = "derive"
)

// RSA modulus sizes in bits. RSA keys are made in steps of 8 bits from MinRSABits to MaxRSABits.
const (
	MinRSABits     = 2048
	MaxRSABits     = 4096
	DefaultRSABits = 3072
)

// Bounds of a HMAC_SHA256 key in bits: at least the hash (RFC 7518 section 3.2), at most 512 bytes.
const (
	MinHMACBits     = 256
	MaxHMACBits     = 4096
	DefaultHMACBits = 256
)

// algInfo is one row of the table that everything about an algorithm comes from. A new algorithm is a new row.
type algInfo struct {
	alg                KeyAlg
	class              KeyClass
	jwa, kty, crv      string
	jwkUse             string      // RFC 7517 section 4.2; empty for keys that have no public JWK
	hash               crypto.Hash // 0: the scheme hashes by itself, or needs no hash
	uses               []KeyUse
	min, standard, max int // size in bits
}

var (
	signing    = []KeyUse{UseSign, UseVerify}
	encryption = []KeyUse{UseEncrypt, UseDecrypt, UseWrap, UseUnwrap}

	algTable = []algInfo{
		{AES256GCM, Symmetric, "A256GCM", "oct", "", "", 0, encryption, 256, 256, 256},
		{HMACSHA256, Symmetric, "HS256", "oct", "", "", crypto.SHA256, signing, MinHMACBits, DefaultHMACBits, MaxHMACBits},
		{Ed25519, Asymmetric, "EdDSA", "OKP", "Ed25519", "sig", 0, signing, 256, 256, 256},
		{X25519, Asymmetric, "ECDH-ES", "OKP", "X25519", "enc", 0, []KeyUse{UseDerive}, 256, 256, 256},
		{RSAOAEPSHA256, Asymmetric, "RSA-OAEP-256", "RSA", "", "enc", crypto.SHA256, encryption, MinRSABits, DefaultRSABits, MaxRSABits},
		{RSAPSSSHA256, Asymmetric, "PS256", "RSA", "", "sig", crypto.SHA256, signing, MinRSABits, DefaultRSABits, MaxRSABits},
		{RSAPKCS1SHA256, Asymmetric, "RS256", "RSA", "", "sig", crypto.SHA256, signing, MinRSABits, DefaultRSABits, MaxRSABits},
		{ECDSAP256SHA256, Asymmetric, "ES256", "EC", "P-256", "sig", crypto.SHA256, signing, 256, 256, 256},
		{ECDSAP384SHA384, Asymmetric, "ES384", "EC", "P-384", "sig", crypto.SHA384, signing, 384, 384, 384},
		{ECDSAP521SHA512, Asymmetric, "ES512", "EC", "P-521", "sig", crypto.SHA512, signing, 521, 521, 521},
	}

	algByName = func() map[KeyAlg]algInfo {
		m := make(map[KeyAlg]algInfo, len(algTable))
		for _, a := range algTable {
			m[a.alg] = a
		}
		return m
	}()
)

// Algs returns every algorithm of the contract, in the contract's order.
func Algs() []KeyAlg {
	algs := make([]KeyAlg, len(algTable))
	for i, a := range algTable {
		algs[i] = a.alg
	}
	return algs
}

// ParseKeyAlg returns the algorithm with the given name, or [ErrInvalid].
func ParseKeyAlg(s string) (KeyAlg, error) {
	a := KeyAlg(s)
	return a, a.Validate()
}

// Validate returns [ErrInvalid] for an algorithm that is not of the contract.
func (a KeyAlg) Validate() error {
	if _, ok := algByName[a]; !ok {
		return Invalidf("unknown algorithm %.40q: want one of %v", string(a), Algs())
	}
	return nil
}

// Class says whether keys of the algorithm have a public half. It is empty for an unknown algorithm, like every other
// answer below.
func (a KeyAlg) Class() KeyClass { return algByName[a].class }

// JWA is the algorithm's name in a JWK's alg member.
func (a KeyAlg) JWA() string { return algByName[a].jwa }

// KeyType is the JWK's kty: oct, OKP, EC or RSA.
func (a KeyAlg) KeyType() string { return algByName[a].kty }

// Curve is the JWK's crv, or empty.
func (a KeyAlg) Curve() string { return algByName[a].crv }

// Hash is the hash of the algorithm's scheme; 0 if the scheme hashes by itself (Ed25519) or not at all.
func (a KeyAlg) Hash() crypto.Hash { return algByName[a].hash }

// Uses returns every use that the algorithm allows.
func (a KeyAlg) Uses() []KeyUse { return slices.Clone(algByName[a].uses) }

// Signs tells whether keys of the algorithm make signatures that others verify with the public half.
func (a KeyAlg) Signs() bool { return a.Class() == Asymmetric && a.allows(UseSign) }

// Bits returns the smallest, the default and the largest size of the algorithm's keys in bits: the modulus of RSA, the
// field of a curve, the length of a symmetric key.
func (a KeyAlg) Bits() (least, standard, most int) {
	i := algByName[a]
	return i.min, i.standard, i.max
}

// SignerOpts returns the options with which a [crypto.Signer] signs as the algorithm says.
func (a KeyAlg) SignerOpts() crypto.SignerOpts {
	if a == RSAPSSSHA256 {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	return a.Hash()
}

func (a KeyAlg) allows(u KeyUse) bool { return slices.Contains(algByName[a].uses, u) }
