package mirror

import (
	"maps"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Version names one version of a key.
type Version struct {
	KID     string
	Version int
}

// String returns the kid of the version's JWK, "<kid>.<version>".
func (v Version) String() string { return provider.JWKKID(v.KID, v.Version) }

func nameOf(ref provider.KeyRef) Version { return Version{ref.KID, ref.Version} }

// ledger is what the mirror knows of the versions of both stores: what the primary vouched for, what was destroyed, and
// where the secondary keeps its copies. It never changes once published: a change is made on a clone.
type ledger struct {
	keys   map[string]map[int]entry
	copies map[Version]Version // a copy's name on the secondary → the version; only where the two differ
	shared map[string]bool     // kids whose map still belongs to the ledger that this one was cloned from
}

// entry is what is known of one version. The life of a version that is destroyed through the mirror:
// live → Intent (before the primary is told) → Destroyed with CopyLeft (the primary did it) → Destroyed.
type entry struct {
	// Fingerprint is the thumbprint that the primary gave the version when it was first seen; empty for a symmetric key.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Conflict is another thumbprint that the primary gave later: the key was replaced behind the mirror's back.
	Conflict    string    `json:"conflict,omitempty"`
	ActiveFrom  time.Time `json:"active_from,omitzero"`
	RetireAfter duration  `json:"retire_after,omitzero"`
	Confirmed   time.Time `json:"confirmed,omitzero"` // when the primary last said that it holds the version

	Copy *placed `json:"copy,omitempty"` // nil: under the primary's name

	Intent    *intent   `json:"destroying,omitempty"`
	Destroyed time.Time `json:"destroyed,omitzero"` // tombstone
	CopyLeft  bool      `json:"copy_left,omitempty"`
}

// placed is a copy under a name that the secondary gave, with what such a store does not keep.
type placed struct {
	KID      string                `json:"kid"`
	Version  int                   `json:"version"`
	Alg      provider.KeyAlg       `json:"alg"`
	Bits     int                   `json:"bits"`
	Uses     []provider.KeyUse     `json:"uses"`
	Export   provider.ExportPolicy `json:"export_policy"`
	Label    string                `json:"label,omitempty"`
	Tags     map[string]string     `json:"tags,omitempty"`
	Created  time.Time             `json:"created"`
	Imported bool                  `json:"imported,omitempty"`
}

// intent is a destroy that was asked for and not finished.
type intent struct {
	// Owner is the Mirror that works on it. If it is gone, the destroy is carried on.
	Owner string `json:"owner"`
	// Unsure tells that the primary gave no answer to the destroy, and the caller got an error: it is not tried again, but
	// the primary is asked whether it still holds the version.
	Unsure bool `json:"unsure,omitempty"`
}

func newLedger() *ledger {
	return &ledger{keys: map[string]map[int]entry{}, copies: map[Version]Version{}}
}

// clone returns a ledger that can be changed until it is published.
func (l *ledger) clone() *ledger {
	c := &ledger{maps.Clone(l.keys), maps.Clone(l.copies), make(map[string]bool, len(l.keys))}
	for kid := range l.keys {
		c.shared[kid] = true
	}
	return c
}

// get returns the entry of a version.
func (l *ledger) get(v Version) (e entry, known bool) {
	e, known = l.keys[v.KID][v.Version]
	return e, known
}

// set changes the entry of a version. What e points to is not changed later.
func (l *ledger) set(v Version, e entry) {
	if l.shared[v.KID] || l.keys[v.KID] == nil {
		versions := maps.Clone(l.keys[v.KID])
		if versions == nil {
			versions = map[int]entry{}
		}
		l.keys[v.KID] = versions
		delete(l.shared, v.KID)
	}
	if old := l.keys[v.KID][v.Version].Copy; old != nil {
		delete(l.copies, Version{old.KID, old.Version})
	}
	if e.Copy != nil {
		l.copies[Version{e.Copy.KID, e.Copy.Version}] = v
	}
	l.keys[v.KID][v.Version] = e
}

// vouch notes what the primary says of a version, and where its copy stands if that is not under the primary's name. A
// copy that was made of a version destroyed meanwhile is noted as left over.
func (l *ledger) vouch(ref provider.KeyRef, now time.Time, copied bool, at *placed) {
	v := nameOf(ref)
	e, known := l.get(v)
	if at != nil {
		e.Copy = at
	}
	if !e.Destroyed.IsZero() {
		e.CopyLeft = e.CopyLeft || copied
		l.set(v, e)
		return
	}
	e.Conflict = ""
	if !known {
		e.Fingerprint = ref.Fingerprint
	} else if e.Fingerprint != ref.Fingerprint {
		e.Conflict = ref.Fingerprint
	}
	e.ActiveFrom, e.RetireAfter, e.Confirmed = ref.ActiveFrom.UTC(), duration(ref.RetireAfter), now.UTC()
	l.set(v, e)
}

// numbers returns the versions that are known of a kid, ascending.
func (l *ledger) numbers(kid string) []int { return slices.Sorted(maps.Keys(l.keys[kid])) }

// latest returns the highest version of kid that is not destroyed; 0 if none is known.
func (l *ledger) latest(kid string) int {
	latest := 0
	for n, e := range l.keys[kid] {
		if e.Destroyed.IsZero() {
			latest = max(latest, n)
		}
	}
	return latest
}

// extinct tells whether every known version of kid is destroyed, and there was one.
func (l *ledger) extinct(kid string) bool { return len(l.keys[kid]) > 0 && l.latest(kid) == 0 }

// lacking returns how many keys are known that are not among refs.
func (l *ledger) lacking(refs []provider.KeyRef) int {
	there := make(map[string]bool, len(refs))
	for _, ref := range refs {
		there[ref.KID] = true
	}
	n := 0
	for kid := range l.keys {
		if !there[kid] && l.latest(kid) != 0 {
			n++
		}
	}
	return n
}

// destroyed tells whether the version was destroyed through the mirror. Version 0 stands for the whole key and never is.
func (l *ledger) destroyed(kid string, version int) bool {
	e, _ := l.get(Version{kid, version})
	return !e.Destroyed.IsZero()
}

// unfinished returns the kids of which a destroy is not finished, ascending.
func (l *ledger) unfinished() (kids []string) {
	for kid, versions := range l.keys {
		for _, e := range versions {
			if e.Intent != nil || e.CopyLeft {
				kids = append(kids, kid)
				break
			}
		}
	}
	slices.Sort(kids)
	return kids
}

// state returns the state of a version at now by every schedule that the mirror knows of its key, destroyed versions
// included. The entry's schedule counts before that of ref, which a store may have been made to change.
func (l *ledger) state(now time.Time, ref provider.KeyRef) provider.State {
	if len(l.keys[ref.KID]) == 0 {
		return ref.State
	}
	own := -1
	var schedules []provider.Schedule
	numbers := l.numbers(ref.KID)
	if i, found := slices.BinarySearch(numbers, ref.Version); !found {
		numbers = slices.Insert(numbers, i, ref.Version)
	}
	for _, n := range numbers {
		e, known := l.get(Version{ref.KID, n})
		s := e.schedule()
		if !known {
			s = ref.Schedule()
		}
		if n == ref.Version {
			own = len(schedules)
		} else if known && e.lapsed() {
			continue
		}
		schedules = append(schedules, s)
	}
	return provider.States(now, schedules)[own]
}

func (e entry) schedule() provider.Schedule {
	return provider.Schedule{ActiveFrom: e.ActiveFrom, RetireAfter: time.Duration(e.RetireAfter), Destroyed: !e.Destroyed.IsZero()}
}

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

// later returns the one of two states that comes later in a version's life.
func later(a, b provider.State) provider.State {
	order := []provider.State{provider.Pending, provider.Active, provider.Retiring, provider.Retired, provider.Destroyed}
	return order[max(0, slices.Index(order, a), slices.Index(order, b))]
}
