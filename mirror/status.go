package mirror

import (
	"maps"
	"slices"
	"time"
)

// Status is what a Mirror knows of itself. Nothing is asked for it.
type Status struct {
	Primary   StoreStatus
	Secondary StoreStatus

	// Confirmed is the latest time at which the primary confirmed a version; zero if the mirror can't tell.
	Confirmed time.Time
	// Unmirrored is what the secondary should hold and does not, as far as seen.
	Unmirrored []Unmirrored
	// Orphans is what only the secondary holds, as far as seen.
	Orphans []Version
	// Conflicts is what stood under one name with two thumbprints in the last Report.
	Conflicts []Conflict
	// Tombstones is how many versions were destroyed through the mirror.
	Tombstones int
	// Pending is destroys that are not finished on both stores.
	Pending []Version
	// Reconciled is when the last pass came to its end; zero if none has.
	Reconciled time.Time
	// SignedBySecondary is how many signatures the secondary has made in the primary's place since New (Config.FailOverSigning).
	SignedBySecondary int64
	// Manifest is the statement that the secondary is served by.
	Manifest ManifestStatus
	// State says why the state can't be trusted; nil if it can.
	State error
}

// ManifestStatus is how the manifest is. The zero Issued says that there is none.
type ManifestStatus struct {
	Generation int64
	Issued     time.Time
	Expires    time.Time
	Key        string // thumbprint of the key that signed it
	Pinned     bool   // it was verified under Config.Pin
	// Unsigned is versions that the mirror knows of and the manifest does not name as it should.
	Unsigned []Version
	// Err is why the last change could not be signed; provider.ErrUnsupported: the primary can't, and the mirror stays
	// unauthenticated. nil if it was signed, or if this Mirror signs nothing.
	Err error
}

// StoreStatus is how one store is.
type StoreStatus struct {
	Down  bool // the mirror does not wait for it: reads pass it by, until a probe finds it back
	Since time.Time
	Err   error // wraps provider.ErrUnavailable; nil unless Down
}

// Status says how the mirror is.
func (m *Mirror) Status() Status {
	s := Status{Primary: m.up.status(), Secondary: m.copies.slow.status(), State: m.state.sound(), SignedBySecondary: m.deputySignatures.Load()}
	l := m.state.current()
	for kid, versions := range l.keys {
		for n, e := range versions {
			v := Version{kid, n}
			if t := m.asOf(v); t.After(s.Confirmed) {
				s.Confirmed = t
			}
			if !e.Destroyed.IsZero() {
				s.Tombstones++
			}
			if e.Intent != nil || e.CopyLeft {
				s.Pending = append(s.Pending, v)
			}
		}
	}
	slices.SortFunc(s.Pending, compareVersions)
	s.Manifest = m.manifestStatus()
	m.found.into(&s)
	return s
}

func (m *Mirror) manifestStatus() ManifestStatus {
	s := ManifestStatus{Pinned: m.cfg.Pin != "" && m.state.sound() == nil}
	if n := m.state.notary; n != nil {
		s.Err = n.failed()
	}
	signed := m.state.signed.Load()
	if signed == nil {
		s.Pinned = false
		return s
	}
	s.Generation, s.Issued, s.Expires, s.Key = signed.generation, signed.issued, signed.expires, signed.key
	for v, e := range m.state.current().all() {
		if !e.signed {
			s.Unsigned = append(s.Unsigned, v)
		}
	}
	slices.SortFunc(s.Unsigned, compareVersions)
	return s
}

func (b *breaker) status() StoreStatus {
	if o := b.outage.Load(); o != nil {
		return StoreStatus{true, o.since, o.err}
	}
	return StoreStatus{}
}

func (f *findings) into(s *Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Reconciled, s.Conflicts = f.report.At, slices.Clone(f.report.Conflicts)
	s.Orphans = slices.SortedFunc(maps.Keys(f.orphans), compareVersions)
	for v, reason := range f.unmirrored {
		s.Unmirrored = append(s.Unmirrored, Unmirrored{v, reason})
	}
	slices.SortFunc(s.Unmirrored, func(a, b Unmirrored) int { return compareVersions(a.Version, b.Version) })
}
