package softfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// entry is what the store knows of one key. It does not change: what was read anew is a new entry.
type entry struct {
	kid        string
	versions   []*version  // ascending, without the destroyed ones
	tombstones []tombstone // ascending
	problems   []problem
	leftovers  []int // destroyed versions whose records still stand there
	highest    int   // the highest number that was ever used, as far as files tell; damaged records count

	// schedules is what the states of all versions follow from, in ascending order; alive holds the live version at
	// each place, or nil.
	schedules []provider.Schedule
	alive     []*version

	dir     fs.FileInfo // the key's directory, before it was read; nil if it could not be read
	settled bool        // dir was old enough for its time to tell of the next change: see settleTime
}

// problem is a file or directory that can't be read.
type problem struct {
	version int   // whose record it is; 0: something that all versions need; -1: neither
	err     error // wraps ErrTampered, or ErrUnavailable for an error of the file system; names the path
}

// with returns e, which is nil for a new key, and one version more, which was just written. It is not settled.
func (e *entry) with(v *version) *entry {
	n := &entry{kid: v.rec.KID, highest: v.rec.Version}
	if e != nil {
		n.versions, n.tombstones, n.problems, n.dir = slices.Clone(e.versions), e.tombstones, e.problems, e.dir
		n.highest = max(e.highest, v.rec.Version)
	}
	n.versions = append(n.versions, v)
	return n.finish()
}

// finish fills in what follows from the versions and the tombstones.
func (e *entry) finish() *entry {
	slices.SortFunc(e.versions, func(a, b *version) int { return cmp.Compare(a.rec.Version, b.rec.Version) })
	place := map[int]provider.Schedule{}
	live := map[int]*version{}
	for _, t := range e.tombstones {
		e.highest = max(e.highest, t.Version)
		if s, kept := t.schedule(); kept {
			place[t.Version] = s
		}
	}
	for _, v := range e.versions {
		place[v.rec.Version], live[v.rec.Version] = v.rec.schedule(), v
	}
	for _, n := range slices.Sorted(maps.Keys(place)) {
		e.schedules, e.alive = append(e.schedules, place[n]), append(e.alive, live[n])
	}
	return e
}

// unchanged tells whether e is still right, given what describes the key's directory now.
func (e *entry) unchanged(dir fs.FileInfo) bool {
	return e != nil && e.settled && len(e.problems) == 0 && os.SameFile(e.dir, dir) && e.dir.ModTime().Equal(dir.ModTime())
}

// version returns a live version; 0 is the highest one. A version whose record can't be read is the problem's error. As
// the highest one, a damaged record is passed over; one that the file system does not give now is not, as it may be good.
func (e *entry) version(kid string, number int) (*version, error) {
	if e == nil {
		return nil, provider.NotFound(kid, number)
	}
	if number == 0 && len(e.versions) > 0 {
		highest := e.versions[len(e.versions)-1]
		for _, p := range e.problems {
			if p.version > highest.rec.Version && errors.Is(p.err, provider.ErrUnavailable) {
				return nil, p.err
			}
		}
		return highest, nil
	}
	if i, found := slices.BinarySearchFunc(e.versions, number, func(v *version, n int) int { return cmp.Compare(v.rec.Version, n) }); found {
		return e.versions[i], nil
	}
	for _, p := range e.problems {
		if p.version == number || p.version > 0 && number == 0 || p.version == 0 && e.dir == nil {
			return nil, p.err
		}
	}
	return nil, provider.NotFound(kid, number)
}

// writable returns nil unless the number of the next version, or what was destroyed, can't be known.
func (e *entry) writable() error {
	if e == nil {
		return nil
	}
	for _, p := range e.problems {
		if p.version == 0 {
			return fmt.Errorf("no write to %q: %w", e.kid, p.err)
		}
	}
	return nil
}

// next returns the number of the next version.
func (e *entry) next(kid string) (int, error) {
	if e == nil {
		return 1, nil
	}
	if e.highest >= maxVersion {
		return 0, provider.Unsupportedf("another version of %q: the number %d is taken, the highest that there is", kid, e.highest)
	}
	return e.highest + 1, nil
}

// states calls visit for each live version, in ascending order, with its state at now.
func (e *entry) states(now time.Time, visit func(*version, provider.State)) {
	for i, state := range provider.States(now, e.schedules) {
		if v := e.alive[i]; v != nil {
			visit(v, state)
		}
	}
}

// state returns the state of one live version at now.
func (e *entry) state(now time.Time, v *version) (state provider.State) {
	e.states(now, func(w *version, s provider.State) {
		if w == v {
			state = s
		}
	})
	return state
}

// nextChange returns the first time after now at which a state may be another one; zero if there is none.
func (e *entry) nextChange(now time.Time) (next time.Time) {
	for _, s := range e.schedules {
		for _, t := range []time.Time{s.ActiveFrom, s.ActiveFrom.Add(s.RetireAfter)} {
			if t.After(now) && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
	}
	return next
}

func (e *entry) errors() []error {
	if e == nil {
		return nil
	}
	errs := make([]error, len(e.problems))
	for i, p := range e.problems {
		errs[i] = p.err
	}
	return errs
}
