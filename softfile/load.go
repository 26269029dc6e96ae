package softfile

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
)

// settleTime is how old the modification time of a directory must be for its next change to show in it: file systems
// count time in steps of up to 2 s (FAT), so that two changes in one step look like one.
const settleTime = 2 * time.Second

// loader reads the directories of keys.
type loader struct {
	keys *fileops.Dir
	warn *looseModes
}

// load reads the directory of a key into an entry; nil if there is none. Records that are the same files as in prev are
// not read again.
//
// No lock is needed for a consistent answer. A version appears with its record, and is destroyed by the tombstones, which
// are written before a record goes. They are read after the records, so that a record that goes meanwhile is accounted for.
func (l loader) load(kid string, prev *entry) *entry {
	e := &entry{kid: kid}
	dir, err := l.keys.Sub(kid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return e.add(0, err)
	}
	defer dir.Close()
	now := time.Now()
	info, err := dir.Lstat(".")
	if err != nil {
		return e.add(0, err)
	}
	names, err := dir.List()
	if err != nil {
		return e.add(0, err)
	}
	e.dir, e.settled = info, now.Sub(info.ModTime()) > settleTime
	l.warn.tighten(l.keys, kid, info)

	vanished := l.records(dir, e, prev, names)
	if vanished || slices.Contains(names, tombstoneFile) {
		l.tombstones(dir, e)
	}
	return e.finish()
}

// loadChanged returns prev if the key's directory is known to be unchanged since, else what load returns.
func (l loader) loadChanged(kid string, prev *entry) *entry {
	if info, err := l.keys.Lstat(kid); err == nil && prev.unchanged(info) {
		return prev
	}
	return l.load(kid, prev)
}

// records reads the records among names. It tells whether one of them was gone by then.
func (l loader) records(dir *fileops.Dir, e, prev *entry, names []string) (vanished bool) {
	for _, name := range names {
		number, ok := parseRecordName(name)
		switch {
		case ok:
		case name == tombstoneFile || strings.HasPrefix(name, "."):
			continue
		default:
			e.stray(dir.Path(name))
			continue
		}
		e.highest = max(e.highest, number)
		v, err := l.record(dir, e.kid, number, prev)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			vanished = true
		case err != nil:
			e.add(number, err)
		default:
			e.versions = append(e.versions, v)
		}
	}
	return vanished
}

func (l loader) record(dir *fileops.Dir, kid string, number int, prev *entry) (*version, error) {
	name := recordName(number)
	if v, err := prev.version(kid, number); err == nil {
		info, err := dir.Lstat(name)
		if err == nil && os.SameFile(info, v.file) && info.Size() == v.file.Size() && info.ModTime().Equal(v.file.ModTime()) {
			return v, nil
		}
	}
	data, info, err := dir.ReadFile(name, maxRecord)
	if err != nil {
		return nil, err
	}
	v, err := parseRecord(kid, number, data)
	if err != nil {
		return nil, damaged(dir.Path(name), err)
	}
	v.file = info
	l.warn.tighten(dir, name, info)
	return v, nil
}

// tombstones reads the tombstones and takes the destroyed versions out of e.
func (l loader) tombstones(dir *fileops.Dir, e *entry) {
	data, info, err := dir.ReadFile(tombstoneFile, maxTombstone)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		e.add(0, err)
		return
	}
	if e.tombstones, err = parseTombstones(e.kid, data); err != nil {
		e.add(0, damaged(dir.Path(tombstoneFile), err))
		return
	}
	l.warn.tighten(dir, tombstoneFile, info)
	gone := make(map[int]bool, len(e.tombstones))
	for _, t := range e.tombstones {
		gone[t.Version] = true
	}
	left := func(number int) bool {
		if gone[number] {
			e.leftovers = append(e.leftovers, number)
		}
		return gone[number]
	}
	e.versions = slices.DeleteFunc(e.versions, func(v *version) bool { return left(v.rec.Version) })
	e.problems = slices.DeleteFunc(e.problems, func(p problem) bool { return left(p.version) })
}

// looseModes takes from group and others the access that modes looser than the store's give them, and warns of the first
// case. It is only called for what was found good: damaged files stay as they are.
type looseModes struct {
	log  *slog.Logger
	once sync.Once
}

func (m *looseModes) tighten(dir *fileops.Dir, name string, info fs.FileInfo) {
	changed, err := dir.Tighten(name, info)
	if changed || err != nil {
		m.once.Do(func() {
			m.log.Warn("softfile: others had access to files of the store", "path", dir.Path(name), "mode", info.Mode().String(), "repaired", changed)
		})
	}
}

// add notes what can't be read. err names the path.
func (e *entry) add(version int, err error) *entry {
	e.problems = append(e.problems, problem{version, classify(err)})
	return e
}

// stray notes a file that is no part of the store. It stands in no version's way.
func (e *entry) stray(path string) {
	e.problems = append(e.problems, problem{-1, damaged(path, errors.New("not a file of this store"))})
}
