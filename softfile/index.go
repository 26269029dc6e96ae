package softfile

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
)

// checkInterval is how long the store answers from memory without looking at its directory.
const checkInterval = time.Second

// index is what the store knows of its keys. Reads are answered from it.
//
// Whoever reads directories into entries holds loading, so that what was read later replaces what was read earlier and
// never the reverse. mu guards the members below it, is held for moments only, and never while a file is touched.
type index struct {
	path string
	hook fileops.Hook
	log  *slog.Logger
	warn looseModes

	loading semaphore

	mu         sync.RWMutex
	entries    map[string]*entry
	problems   []error   // what stands beside the keys and can't be read
	checked    time.Time // when the directory was last looked at
	seen       marker    // what it looked like
	generation uint64    // counts changes of entries
	sets       map[string]cachedSet
}

// entry returns what is known of a key; nil if nothing is.
func (x *index) entry(kid string) *entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.entries[kid]
}

// reload reads one key's directory again, unless it is known to be unchanged. A writer forces it: its own changes come
// within one step of the clock. dir is the store's directory.
func (x *index) reload(ctx context.Context, dir *fileops.Dir, kid string, force bool) (*entry, error) {
	if err := x.loading.lock(ctx); err != nil {
		return nil, err
	}
	defer x.loading.unlock()
	keys, err := x.openKeys(dir)
	if err != nil || keys == nil {
		return nil, err
	}
	defer keys.Close()
	prev, l := x.entry(kid), loader{keys, &x.warn}
	var e *entry
	if force {
		e = l.load(kid, prev)
	} else {
		e = l.loadChanged(kid, prev)
	}
	x.set(kid, prev, e)
	return e, nil
}

// put makes e what is known of its key, by whoever wrote it and still holds the writers' lock.
func (x *index) put(ctx context.Context, e *entry) error {
	if err := x.loading.lock(ctx); err != nil {
		return err
	}
	defer x.loading.unlock()
	x.set(e.kid, x.entry(e.kid), e)
	return nil
}

// set puts e in the place of prev; nil removes it. loading is held.
func (x *index) set(kid string, prev, e *entry) {
	x.report(prev.errors(), e.errors())
	x.mu.Lock()
	defer x.mu.Unlock()
	if e == nil {
		delete(x.entries, kid)
	} else {
		x.entries[kid] = e
	}
	x.changed(e != prev)
}

// openKeys opens the directory of the keys; nil if there is none and never was. One that is gone is no empty store: a
// file system that was unmounted leaves an empty directory behind.
func (x *index) openKeys(dir *fileops.Dir) (*fileops.Dir, error) {
	keys, err := dir.Sub(keysDir)
	if errors.Is(err, fs.ErrNotExist) && x.empty() {
		return nil, nil
	}
	if err != nil {
		return nil, classify(err)
	}
	return keys, nil
}

func (x *index) empty() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.entries) == 0
}

// changed forgets what was computed from the entries, if they did change. mu is held.
func (x *index) changed(did bool) {
	if did {
		x.generation++
		x.sets = nil
	}
}

// report logs each problem once, when it is first seen. mu is not held: the logger is someone else's.
func (x *index) report(known, now []error) {
	texts := map[string]bool{}
	for _, err := range known {
		texts[err.Error()] = true
	}
	for _, err := range now {
		if !texts[err.Error()] {
			x.log.Warn("softfile: a file of the store can't be read", "error", err)
		}
	}
}

// all returns every entry whose kid satisfies want, in ascending order of kid, what else can't be read, and the
// generation of the answer.
func (x *index) all(want func(kid string) bool) (entries []*entry, problems []error, generation uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, kid := range slices.Sorted(maps.Keys(x.entries)) {
		if want(kid) {
			entries = append(entries, x.entries[kid])
		}
	}
	return entries, slices.Clone(x.problems), x.generation
}
