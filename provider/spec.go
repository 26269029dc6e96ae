package provider

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ExportPolicy says what may leave the store. The public half of a pair is public under every policy: JWK and JWKS serve
// it, and a mirror copies it.
type ExportPolicy string

// The export policies. The empty policy means ExportNone.
const (
	// ExportNone keeps private and secret material in the store for ever.
	ExportNone ExportPolicy = "none"
	// ExportPublicOnly is ExportNone for a key whose public half is meant to be handed out, and says so to the reader.
	ExportPublicOnly ExportPolicy = "public_only"
	// ExportSecretWhenAllowed lets private and secret material out where the store and its caller both can.
	ExportSecretWhenAllowed ExportPolicy = "secret_when_allowed"
)

// KeySpec says what key to make or import. The zero value of each field but Alg is a good default.
type KeySpec struct {
	KID    string            // name; empty: random (NewKID)
	Alg    KeyAlg            // required
	Bits   int               // RSA modulus or HMAC key size in bits; 0: the algorithm's default. 0 for all other algorithms
	Uses   []KeyUse          // empty: all that the algorithm allows
	Export ExportPolicy      // empty: ExportNone
	Label  string            // for people; at most MaxLabel bytes of UTF-8
	Tags   map[string]string // for programs; at most MaxTags
}

// Bounds of what a caller can attach to a key.
const (
	MaxLabel    = 256 // bytes
	MaxTags     = 32
	MaxTagKey   = 64  // bytes
	MaxTagValue = 256 // bytes
)

// Normalize checks spec and returns a copy with every default filled in: a random kid, the size, the uses in the
// contract's order, the policy. It returns [ErrInvalid] for whatever breaks a rule. Stores call it first.
func (s KeySpec) Normalize() (KeySpec, error) {
	if err := s.Alg.Validate(); err != nil {
		return KeySpec{}, err
	}
	if s.KID == "" {
		s.KID = NewKID()
	}
	checks := []error{ValidateKID(s.KID), checkBits(s.Alg, s.Bits), s.Export.validate(), validateLabel(s.Label), validateTags(s.Tags)}
	for _, err := range checks {
		if err != nil {
			return KeySpec{}, err
		}
	}
	if s.Bits == 0 {
		_, s.Bits, _ = s.Alg.Bits()
	}
	if s.Export == "" {
		s.Export = ExportNone
	}
	uses, err := normalizeUses(s.Alg, s.Uses)
	if err != nil {
		return KeySpec{}, err
	}
	s.Uses, s.Tags = uses, maps.Clone(s.Tags)
	return s, nil
}

// Rotation says how RotateKey makes the next version. The zero value keeps the size, the label and the tags, and uses
// [DefaultWindows].
type Rotation struct {
	Bits    int               // 0: as the latest version
	Label   *string           // nil: as the latest version
	Tags    map[string]string // nil: as the latest version
	Windows *Windows          // nil: DefaultWindows; &Windows{}: now, and the version before is retired at once
}

// Windows are the times around a rotation.
type Windows struct {
	// PublishBefore is how long the new version is published before it signs. It must cover the time for which
	// verifiers cache a JWKS.
	PublishBefore time.Duration
	// RetireAfter is how long the version before stays published after it has stopped signing. It must cover the
	// longest lifetime of a token plus the verifiers' cache plus clock skew. A store that keeps whole seconds rounds up.
	RetireAfter time.Duration
}

// DefaultWindows returns 10 minutes before and 24 hours after.
func DefaultWindows() Windows {
	return Windows{PublishBefore: 10 * time.Minute, RetireAfter: 24 * time.Hour}
}

// Normalize checks r and returns the spec and the windows of the version that follows latest.
func (r Rotation) Normalize(latest KeyRef) (KeySpec, Windows, error) {
	w := DefaultWindows()
	if r.Windows != nil {
		w = *r.Windows
	}
	if w.PublishBefore < 0 || w.RetireAfter < 0 {
		return KeySpec{}, Windows{}, Invalidf("windows %v and %v: want no negative duration", w.PublishBefore, w.RetireAfter)
	}
	spec := latest.Spec()
	if r.Bits != 0 {
		spec.Bits = r.Bits
	}
	if r.Label != nil {
		spec.Label = *r.Label
	}
	if r.Tags != nil {
		spec.Tags = r.Tags
	}
	spec, err := spec.Normalize()
	return spec, w, err
}

func checkBits(a KeyAlg, bits int) error {
	least, _, most := a.Bits()
	switch {
	case bits == 0:
		return nil
	case least == most && bits != least:
		return Invalidf("%s key of %d bits: want 0 or %d, the only size of this algorithm", a, bits, least)
	case bits < least || bits > most || bits%8 != 0 && least != most:
		return Invalidf("%s key of %d bits: want %d to %d in steps of 8", a, bits, least, most)
	}
	return nil
}

func (p ExportPolicy) validate() error {
	switch p {
	case "", ExportNone, ExportPublicOnly, ExportSecretWhenAllowed:
		return nil
	}
	return Invalidf("unknown export policy %.40q: want %s, %s or %s", string(p), ExportNone, ExportPublicOnly, ExportSecretWhenAllowed)
}

// normalizeUses returns uses without repeats in the algorithm's order; all of them if uses is empty.
func normalizeUses(a KeyAlg, uses []KeyUse) ([]KeyUse, error) {
	if len(uses) == 0 {
		return a.Uses(), nil
	}
	for _, u := range uses {
		if !a.allows(u) {
			return nil, Invalidf("use %.40q of a key for %s: want some of %v", string(u), a, a.Uses())
		}
	}
	return slices.DeleteFunc(a.Uses(), func(u KeyUse) bool { return !slices.Contains(uses, u) }), nil
}

func validateLabel(label string) error {
	if len(label) > MaxLabel || !utf8.ValidString(label) {
		return Invalidf("label of %d bytes: want at most %d bytes of UTF-8", len(label), MaxLabel)
	}
	return nil
}

func validateTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return Invalidf("%d tags: want at most %d", len(tags), MaxTags)
	}
	for k, v := range tags {
		if k == "" || len(k) > MaxTagKey || len(v) > MaxTagValue || !utf8.ValidString(k+v) {
			return Invalidf("tag %.64q: want a key of 1 to %d and a value of up to %d bytes of UTF-8", strings.ToValidUTF8(k, "?"), MaxTagKey, MaxTagValue)
		}
	}
	return nil
}
