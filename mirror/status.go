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
	// State says why the state can't be trusted; nil if it can.
	State error
}

// StoreStatus is how one store is.
type StoreStatus struct {
	Down  bool // the mirror does not wait for it: reads pass it by, until a probe finds it back
	Since time.Time
	Err   error // wraps provider.ErrUnavailable; nil unless Down
}

// Status says how the mirror is.
func (m *Mirror) Status() Status {
	s := Status{Primary: m.up.status(), Secondary: m.copies.slow.status(), State: m.state.sound()}
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
	m.found.into(&s)
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
