package mirror

import (
	"slices"
	"strings"
	"sync"

	"github.com/hsmmirror/hsmmirror/provider"
)

// findings is what the mirror has seen of differences between its stores. It is for people and to save questions; nothing
// is served or refused by it alone. The zero value is ready.
type findings struct {
	mu         sync.Mutex
	orphans    map[Version]bool
	unmirrored map[Version]string // with the reason
	report     Report             // of the last pass that came to its end
	failing    bool               // the last change did not reach the secondary
	tries      int                // passes in a row that left something to do
}

func (f *findings) isOrphan(v Version) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.orphans[v]
}

func (f *findings) orphan(v Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.orphans == nil {
		f.orphans = map[Version]bool{}
	}
	f.orphans[v] = true
}

// copied notes what became of a copy.
func (f *findings) copied(v Version, mirroring provider.Mirroring) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mirroring.Mirrored {
		delete(f.unmirrored, v)
		return
	}
	if f.unmirrored == nil {
		f.unmirrored = map[Version]string{}
	}
	f.unmirrored[v] = mirroring.Reason
}

// carried notes whether a change reached the secondary. changed tells that it is the first that did not, or did again.
func (f *findings) carried(done bool) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = f.failing == done
	f.failing = !done
	return changed
}

// destroyed forgets a version.
func (f *findings) destroyed(v Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.orphans, v)
	delete(f.unmirrored, v)
}

// reconciled takes over the result of a whole pass. It returns the conflicts and the orphans that the pass before had not
// found.
func (f *findings) reconciled(r Report) (conflicts []Conflict, orphans []Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	conflicts = slices.DeleteFunc(slices.Clone(r.Conflicts), func(c Conflict) bool { return slices.Contains(f.report.Conflicts, c) })
	orphans = slices.DeleteFunc(slices.Clone(r.Orphans), func(v Version) bool { return slices.Contains(f.report.Orphans, v) })
	f.report = r
	f.orphans = map[Version]bool{}
	for _, v := range r.Orphans {
		f.orphans[v] = true
	}
	f.unmirrored = map[Version]string{}
	for _, u := range r.Unmirrored {
		f.unmirrored[u.Version] = u.Reason
	}
	return conflicts, orphans
}

func compareVersions(a, b Version) int {
	if c := strings.Compare(a.KID, b.KID); c != 0 {
		return c
	}
	return a.Version - b.Version
}

// pass counts a pass of the keeper. It returns how many in a row have left something to do.
func (f *findings) pass(clean bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	if clean {
		f.tries = 0
	}
	return f.tries
}
