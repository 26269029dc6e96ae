package mirror

import (
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Statement is what the signed manifest says of one version (docs/manifest.md).
type Statement struct {
	// Ref is the version as the primary described it when it was last signed. Of a destroyed version it has the names, the schedule
	// and the fingerprint alone. State and Provenance are empty: they are no part of the statement.
	Ref provider.KeyRef

	Destroyed  time.Time // it was destroyed through the mirror then; zero: it was not
	Destroying bool      // its destruction was begun
	Missing    time.Time // since then the primary lacked it, without a destroy through the mirror; zero: it did not
	Conflict   string    // another thumbprint that the primary gave later; empty: none
}

// Stated returns what the manifest that the Mirror has accepted says of each version, in ascending order; nil if it has accepted
// none, of which [Mirror.Status] says why.
func (m *Mirror) Stated() []Statement {
	signed := m.state.signed.Load()
	if signed == nil {
		return nil
	}
	all := []Statement{}
	for v, e := range signed.ledger.all() {
		all = append(all, Statement{e.describe(v), e.Destroyed, e.Intent != nil, e.Missing, e.Conflict})
	}
	slices.SortFunc(all, func(a, b Statement) int { return compareVersions(nameOf(a.Ref), nameOf(b.Ref)) })
	return all
}

// describe returns the description of a version that an entry holds.
func (e entry) describe(v Version) provider.KeyRef {
	return provider.KeyRef{
		KID: v.KID, Version: v.Version, Alg: e.Alg, Bits: e.Bits, Uses: e.Uses, Export: e.Export, Label: e.Label, Tags: e.Tags,
		Created: e.Created, Imported: e.Imported, ActiveFrom: e.ActiveFrom, RetireAfter: time.Duration(e.RetireAfter), Fingerprint: e.Fingerprint,
	}.Clone()
}
