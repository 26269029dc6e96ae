package mirror

import (
	"maps"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// entry is what is known of one version. The life of a version that is destroyed through the mirror:
// live → Intent (before the primary is told) → Destroyed with CopyLeft (the primary did it) → Destroyed.
//
// Its JSON is a member of the manifest and of the state (docs/manifest.md).
type entry struct {
	// Fingerprint is the thumbprint that the primary gave the version when it was first seen; empty for a symmetric key.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Conflict is another thumbprint that the primary gave later: the key was replaced behind the mirror's back.
	Conflict string `json:"conflict,omitempty"`
	details
	ActiveFrom  time.Time `json:"active_from,omitzero"`
	RetireAfter duration  `json:"retire_after,omitzero"`
	Confirmed   time.Time `json:"confirmed,omitzero"` // when the primary last said that it holds the version
	Missing     time.Time `json:"missing,omitzero"`   // since when the primary lacks it, without a destroy through the mirror
	Evidence    *evidence `json:"evidence,omitempty"`

	Copy       *Version `json:"copy,omitempty"` // where the secondary keeps it; nil: under the primary's name
	Unmirrored bool     `json:"unmirrored,omitempty"`

	Intent    *intent   `json:"destroying,omitempty"`
	Destroyed time.Time `json:"destroyed,omitzero"` // tombstone
	CopyLeft  bool      `json:"copy_left,omitempty"`

	jwk    []byte // the public JWK; nil: not at hand
	signed bool   // the manifest names the version so
	doomed bool   // and says that it is being destroyed
	heard  bool   // this process heard it from the primary
}

// details is what a version's description says besides its names, its key and its schedule.
type details struct {
	Alg      provider.KeyAlg       `json:"alg,omitempty"`
	Bits     int                   `json:"bits,omitempty"`
	Uses     []provider.KeyUse     `json:"uses,omitempty"`
	Export   provider.ExportPolicy `json:"export_policy,omitempty"`
	Label    string                `json:"label,omitempty"`
	Tags     map[string]string     `json:"tags,omitempty"`
	Created  time.Time             `json:"created,omitzero"`
	Imported bool                  `json:"imported,omitempty"`
}

func detailsOf(ref provider.KeyRef) details {
	ref = ref.Clone()
	return details{
		Alg: ref.Alg, Bits: ref.Bits, Uses: ref.Uses, Export: ref.Export, Label: ref.Label, Tags: ref.Tags,
		Created: ref.Created.UTC(), Imported: ref.Imported,
	}
}

func (d details) equal(o details) bool {
	return d.Alg == o.Alg && d.Bits == o.Bits && d.Export == o.Export && d.Label == o.Label && d.Imported == o.Imported &&
		d.Created.Equal(o.Created) && slices.Equal(d.Uses, o.Uses) && maps.Equal(d.Tags, o.Tags)
}

// evidence is [provider.Evidence] with the names that PKCS #11 gives the attributes, in small letters.
type evidence struct {
	Sensitive        *bool  `json:"sensitive,omitempty"`
	Extractable      *bool  `json:"extractable,omitempty"`
	AlwaysSensitive  *bool  `json:"always_sensitive,omitempty"`
	NeverExtractable *bool  `json:"never_extractable,omitempty"`
	Local            *bool  `json:"local,omitempty"`
	KeyGenMechanism  string `json:"key_gen_mechanism,omitempty"`
}

// intent is a destroy that was asked for and not finished.
type intent struct {
	// Owner is the Mirror that works on it. If it is gone, the destroy is carried on.
	Owner string `json:"owner"`
	// Unsure tells that the primary gave no answer to the destroy, and the caller got an error: it is not tried again, but
	// the primary is asked whether it still holds the version.
	Unsure bool `json:"unsure,omitempty"`
}

func (e entry) schedule() provider.Schedule {
	return provider.Schedule{ActiveFrom: e.ActiveFrom, RetireAfter: time.Duration(e.RetireAfter), Destroyed: !e.Destroyed.IsZero()}
}

// loose tells whether the manifest does not name the version, or names it without the destroy that is under way.
func (e entry) loose() bool { return !e.signed || e.doomed != (e.Intent != nil) }

// lapsed tells whether the version was destroyed before it became active, or with an unknown schedule: it supersedes
// nothing.
func (e entry) lapsed() bool {
	return !e.Destroyed.IsZero() && (e.ActiveFrom.IsZero() || e.Destroyed.Before(e.ActiveFrom))
}

// gone tells whether the secondary's copy must not be served as an answer for the given absence of the primary's.
//
// While a destroy is under way, a primary that no longer has the version has carried it out. Without an answer from the
// primary the version lives on, unless the process that asked for the destroy died: then the destroy is to be finished,
// and may be done already.
func (e entry) gone(owner string, why absence) bool {
	switch {
	case !e.Destroyed.IsZero():
		return true
	case e.Intent == nil:
		return false
	case why.answered:
		return true
	}
	return !e.Intent.Unsure && e.Intent.Owner != owner
}

// bury returns the tombstone of a version: what keeps it from coming back, and its schedule, which goes on to supersede the
// versions before it.
func (e entry) bury(now time.Time, copyLeft bool) entry {
	return entry{
		Fingerprint: e.Fingerprint, ActiveFrom: e.ActiveFrom, RetireAfter: e.RetireAfter, Confirmed: e.Confirmed,
		Copy: e.Copy, Destroyed: now, CopyLeft: copyLeft,
	}
}
