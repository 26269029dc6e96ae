package provider

import (
	"maps"
	"slices"
	"time"
)

// KeyRef describes one version of a key. It never holds secret material.
type KeyRef struct {
	KID     string
	Version int // 1 or more
	Alg     KeyAlg
	Bits    int // size in bits, as in KeySpec
	Uses    []KeyUse
	Export  ExportPolicy
	Label   string
	Tags    map[string]string

	// Created is when the version was made or imported, in UTC, to the second.
	Created time.Time
	// ActiveFrom and RetireAfter are the version's schedule: it signs from ActiveFrom on, and the versions before it
	// stay published for RetireAfter from then. See [States].
	ActiveFrom  time.Time
	RetireAfter time.Duration
	// State is the schedule evaluated when the answer was made.
	State State

	// Fingerprint is the RFC 7638 thumbprint (SHA-256, base64url without padding) of the public half. A symmetric key
	// has none: the hash of a secret lets a guess be checked.
	Fingerprint string
	// Imported tells that the private or secret half was made elsewhere.
	Imported bool
	// Private tells that the store that answered can use the private or secret half.
	Private bool
	// Evidence is what the token says of the private half's protection; nil from a store that is no token. Read-only.
	Evidence *Evidence

	// Mirroring says what became of a write on a mirror's secondary; nil in reads and from stores that mirror nothing.
	Mirroring *Mirroring
	// Provenance says where the answer came from.
	Provenance Provenance
}

// JWKKID returns the kid of the version's JWK.
func (r KeyRef) JWKKID() string { return JWKKID(r.KID, r.Version) }

// Allows tells whether the version may be put to use u.
func (r KeyRef) Allows(u KeyUse) bool { return slices.Contains(r.Uses, u) }

// Clone returns a deep copy.
func (r KeyRef) Clone() KeyRef {
	r.Uses, r.Tags = slices.Clone(r.Uses), maps.Clone(r.Tags)
	return r
}

// Spec returns the specification that would make another version like this one.
func (r KeyRef) Spec() KeySpec {
	return KeySpec{KID: r.KID, Alg: r.Alg, Bits: r.Bits, Uses: slices.Clone(r.Uses), Export: r.Export, Label: r.Label, Tags: maps.Clone(r.Tags)}
}

// Evidence is what a token reports of a private or secret key (PKCS#11 v3.0 sections 4.9 and 4.10). A nil member means
// the token gave no answer.
type Evidence struct {
	Sensitive        *bool  // CKA_SENSITIVE: never revealed in plain text
	Extractable      *bool  // CKA_EXTRACTABLE: may leave the token wrapped
	AlwaysSensitive  *bool  // CKA_ALWAYS_SENSITIVE
	NeverExtractable *bool  // CKA_NEVER_EXTRACTABLE
	Local            *bool  // CKA_LOCAL: made on the token
	KeyGenMechanism  string // CKA_KEY_GEN_MECHANISM by name, such as CKM_EC_KEY_PAIR_GEN; empty: no answer
}

// Mirroring is what became of one write on the secondary of a mirror.
type Mirroring struct {
	Mirrored bool   // the secondary holds what the mirror's mode wants it to hold
	Private  bool   // the private or secret half was copied too
	Reason   string // why not, or why less than the mode asks for
}

// Source is the store that gave an answer.
type Source int

// The sources. A store that is no mirror answers as Primary.
const (
	Primary   Source = iota + 1 // the system of record
	Secondary                   // the mirror's copy
	Merged                      // both, each for a part of the answer
)

// String returns primary, mirror or merged.
func (s Source) String() string {
	switch s {
	case Primary:
		return "primary"
	case Secondary:
		return "mirror"
	case Merged:
		return "merged"
	}
	return "unknown"
}

// Provenance says where an answer came from.
type Provenance struct {
	Source Source
	// AsOf is when the system of record last confirmed the answer: now, from a store that holds the key itself.
	AsOf time.Time
	// Stale tells that AsOf is further back than the mirror's soft limit, or that the mirror can't tell.
	Stale bool
	// Orphan tells that the primary answered that it holds no such version, though the mirror's copy was never told of
	// a destroy: it was destroyed behind the mirror's back.
	Orphan bool
	// Unauthenticated tells that the answer rests on a mirror's files alone: no statement of the system of record was
	// verified for it under a key that the reader knows.
	Unauthenticated bool
	// Reason says why the primary did not answer; empty from the primary.
	Reason string
}

// FromPrimary is the provenance of an answer of the system of record at the given time.
func FromPrimary(now time.Time) Provenance { return Provenance{Source: Primary, AsOf: now.UTC()} }
