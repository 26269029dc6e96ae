package softfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// marker is what the store's directory and the one of its keys look like. Every write passes through a temporary file in
// the former, and so changes its modification time.
type marker struct {
	top, keys fs.FileInfo // keys is nil as long as there is no key
	settled   bool
}

func (m marker) unchanged(now marker) bool {
	return m.settled && sameDir(m.top, now.top) && sameDir(m.keys, now.keys)
}

func sameDir(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime())
}

// refresh makes the index no older than checkInterval, or twice that while another goroutine is at it, so that readers of
// a large store do not wait for each other. ErrUnavailable if the directory can't be read.
func (x *index) refresh(ctx context.Context) error {
	if x.younger(checkInterval) {
		return nil
	}
	select {
	case x.loading <- struct{}{}:
	default:
		if x.younger(2 * checkInterval) {
			return nil
		}
		if err := x.loading.lock(ctx); err != nil {
			return err
		}
	}
	defer x.loading.unlock()
	if x.younger(checkInterval) {
		return nil // by whoever held the lock
	}
	return x.check(ctx)
}

func (x *index) younger(limit time.Duration) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return !x.checked.IsZero() && time.Since(x.checked) < limit
}

// recheck looks at the directory now.
func (x *index) recheck(ctx context.Context) error {
	if err := x.loading.lock(ctx); err != nil {
		return err
	}
	defer x.loading.unlock()
	return x.check(ctx)
}

// check looks at the directory, and reads what changed. loading is held.
func (x *index) check(ctx context.Context) error {
	dir, err := fileops.Open(x.path, x.hook)
	if err != nil {
		return classify(err)
	}
	defer dir.Close()
	at := time.Now()
	now, err := look(dir, at)
	if err != nil {
		return classify(err)
	}
	x.mu.Lock()
	unchanged := x.entries != nil && x.seen.unchanged(now)
	if unchanged {
		x.checked = at
	}
	x.mu.Unlock()
	if unchanged {
		return nil
	}
	x.warn.tighten(dir, ".", now.top)
	entries, problems, err := x.sweep(ctx, dir)
	if err != nil {
		return err
	}
	x.replace(entries, problems, at, now)
	return nil
}

// replace puts entries in the place of all that are there. loading is held.
func (x *index) replace(entries map[string]*entry, problems []error, at time.Time, seen marker) {
	known, _, _ := x.all(func(string) bool { return true })
	did := len(known) != len(entries)
	for _, e := range known {
		did = did || entries[e.kid] != e
	}
	for kid, e := range entries {
		x.report(x.entry(kid).errors(), e.errors())
	}
	x.report(x.problems, problems)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.entries, x.problems, x.checked, x.seen = entries, problems, at, seen
	x.changed(did)
}

// look describes the directory at the time at.
func look(dir *fileops.Dir, at time.Time) (m marker, err error) {
	if m.top, err = dir.Lstat("."); err != nil {
		return m, err
	}
	newest := m.top.ModTime()
	m.keys, err = dir.Lstat(keysDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.keys = nil
	case err != nil:
		return m, err
	case m.keys.ModTime().After(newest):
		newest = m.keys.ModTime()
	}
	m.settled = at.Sub(newest) > settleTime
	return m, nil
}

// sweep returns an entry for every key, with those that are known and unchanged as they are. loading is held.
func (x *index) sweep(ctx context.Context, dir *fileops.Dir) (entries map[string]*entry, problems []error, err error) {
	entries = map[string]*entry{}
	keys, err := x.openKeys(dir)
	if err != nil || keys == nil {
		return entries, nil, err
	}
	defer keys.Close()
	info, err := keys.Lstat(".")
	if err != nil {
		return nil, nil, classify(err)
	}
	x.warn.tighten(dir, keysDir, info)
	names, err := keys.List()
	if err != nil {
		return nil, nil, classify(err)
	}
	var kids []string
	for _, name := range names {
		switch {
		case provider.ValidateKID(name) == nil:
			kids = append(kids, name)
		case !strings.HasPrefix(name, "."):
			problems = append(problems, damaged(keys.Path(name), errors.New("not a kid")))
		}
	}
	for _, e := range x.loadAll(ctx, loader{keys, &x.warn}, kids) {
		if e != nil {
			entries[e.kid] = e
		}
	}
	return entries, problems, ctx.Err()
}

// loadAll returns the entries of kids, in no order, with nil for a kid that is gone. It ends early with ctx.
func (x *index) loadAll(ctx context.Context, l loader, kids []string) []*entry {
	loaded := make([]*entry, len(kids))
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(kids)) {
		wg.Go(func() {
			for i := range work {
				loaded[i] = l.loadChanged(kids[i], x.entry(kids[i]))
			}
		})
	}
	for i := range kids {
		if ctx.Err() != nil {
			break
		}
		work <- i
	}
	close(work)
	wg.Wait()
	return loaded
}
