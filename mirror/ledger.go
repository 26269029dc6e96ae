package mirror

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Version names one version of a key.
type Version struct {
	KID     string `json:"kid"`
	Version int    `json:"version"`
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
	texts  map[string][]byte   // the entries of a kid as JSON, where they have been written before
	loose  map[Version]bool    // entries that the manifest does not name as they are ([entry.loose])
	order  []string            // the kids, ascending
}

func newLedger() *ledger {
	return &ledger{keys: map[string]map[int]entry{}, copies: map[Version]Version{}, texts: map[string][]byte{}, loose: map[Version]bool{}}
}

// clone returns a ledger that can be changed until it is published.
func (l *ledger) clone() *ledger {
	c := &ledger{
		keys: maps.Clone(l.keys), copies: maps.Clone(l.copies), shared: make(map[string]bool, len(l.keys)), texts: maps.Clone(l.texts),
		loose: maps.Clone(l.loose), order: slices.Clip(l.order),
	}
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
	delete(l.texts, v.KID)
	l.mark(v, e)
}

// mark is set for an entry of which only what stands in no file has changed.
func (l *ledger) mark(v Version, e entry) {
	if l.keys[v.KID] == nil {
		i, _ := slices.BinarySearch(l.order, v.KID)
		l.order = slices.Insert(l.order, i, v.KID)
		l.keys[v.KID] = map[int]entry{}
	} else if l.shared[v.KID] {
		l.keys[v.KID] = maps.Clone(l.keys[v.KID])
		delete(l.shared, v.KID)
	}
	if old := l.keys[v.KID][v.Version].Copy; old != nil {
		delete(l.copies, Version{old.KID, old.Version})
	}
	if e.Copy != nil {
		l.copies[Version{e.Copy.KID, e.Copy.Version}] = v
	}
	if e.loose() {
		l.loose[v] = true
	} else {
		delete(l.loose, v)
	}
	l.keys[v.KID][v.Version] = e
}

// remove forgets a version.
func (l *ledger) remove(v Version) {
	e := l.keys[v.KID][v.Version]
	e.Copy = nil
	l.set(v, e)
	delete(l.loose, v)
	if delete(l.keys[v.KID], v.Version); len(l.keys[v.KID]) == 0 {
		delete(l.keys, v.KID)
		l.order = slices.DeleteFunc(slices.Clone(l.order), func(kid string) bool { return kid == v.KID })
	}
}

// all yields every entry. The ledger may be changed meanwhile.
func (l *ledger) all() iter.Seq2[Version, entry] {
	return func(yield func(Version, entry) bool) {
		for kid, versions := range l.keys {
			for n, e := range versions {
				if !yield(Version{kid, n}, e) {
					return
				}
			}
		}
	}
}

// unsettled yields every entry that the manifest does not name as it is. The ledger may not be changed meanwhile.
func (l *ledger) unsettled() iter.Seq2[Version, entry] {
	return func(yield func(Version, entry) bool) {
		for v := range l.loose {
			if !yield(v, l.keys[v.KID][v.Version]) {
				return
			}
		}
	}
}

// inherit takes over from a ledger of this process what its files don't tell.
func (l *ledger) inherit(old *ledger) {
	for v, was := range old.all() {
		if e, known := l.get(v); known && was.heard && e.sameKey(was) {
			e.heard = true
			if e.jwk == nil {
				e.jwk = was.jwk
			}
			l.mark(v, e)
		}
	}
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
//
// A version that was to become active after the primary last confirmed it, as heard tells, stays pending: nobody has signed
// with it, and its predecessor is not to be retired for a successor that may never sign. nil: the primary is there.
func (l *ledger) state(now time.Time, ref provider.KeyRef, heard func(Version) time.Time) provider.State {
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
		} else if heard != nil && !s.Destroyed && !now.Before(s.ActiveFrom) && s.ActiveFrom.After(heard(Version{ref.KID, n})) {
			s.ActiveFrom = now.Add(1)
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

// later returns the one of two states that comes later in a version's life.
func later(a, b provider.State) provider.State {
	order := []provider.State{provider.Pending, provider.Active, provider.Retiring, provider.Retired, provider.Destroyed}
	return order[max(0, slices.Index(order, a), slices.Index(order, b))]
}
