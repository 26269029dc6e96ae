package softfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
)

// recorder notes the operations that change a directory. It can fail all that follow some of them, as if the process were
// killed.
type recorder struct {
	mu     sync.Mutex
	ops    []fileops.Op
	kill   int // how many operations are done before; below 0: all
	killed bool
}

func (r *recorder) hook(op fileops.Op) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return errKilled
	}
	switch op.Kind {
	case fileops.OpOpen, fileops.OpStat, fileops.OpList, fileops.OpRead, fileops.OpLock, fileops.OpChmod:
		return nil
	}
	if r.killed = r.kill >= 0 && len(r.ops) == r.kill; r.killed {
		return errKilled
	}
	op.Data = bytes.Clone(op.Data)
	r.ops = append(r.ops, op)
	return nil
}

var errKilled = errors.New("killed")

// disk is what a directory holds: names below it, with the content of files; of a directory it is nil.
type disk map[string]*string

// inode is a file or a directory as a file system has it in memory, and what of it a disk surely has.
type inode struct {
	names  map[string]*inode // of a directory
	synced map[string]*inode // those of them that were synced
	data   string
	safe   bool // data was synced
}

// unsynced is a name that was given or taken away and not synced. A disk may have it or not, whatever it has of others: it is
// taken for nothing that a journal would give more than that.
type unsynced struct {
	dir  *inode
	name string
	to   *inode // nil: taken away
}

func newDir() *inode {
	return &inode{names: map[string]*inode{}, synced: map[string]*inode{}, safe: true}
}

// cache is a file system before a power cut.
type cache struct {
	root  *inode
	names []unsynced // in their order
}

func newCache(d disk) *cache {
	c := &cache{root: newDir()}
	for _, name := range slices.Sorted(maps.Keys(d)) {
		dir, base := c.parent(name)
		f := newDir()
		if d[name] != nil {
			f = &inode{data: *d[name], safe: true}
		}
		dir.names[base], dir.synced[base] = f, f
	}
	return c
}

// at returns what stands at name, or nil.
func (c *cache) at(name string) *inode {
	f := c.root
	for part := range strings.SplitSeq(name, "/") {
		if f != nil && part != "." {
			f = f.names[part]
		}
	}
	return f
}

func (c *cache) parent(name string) (*inode, string) { return c.at(path.Dir(name)), path.Base(name) }

// set gives a name, or takes it away.
func (c *cache) set(name string, to *inode) {
	dir, base := c.parent(name)
	c.names = append(c.names, unsynced{dir, base, to})
	unsynced{dir, base, to}.apply(dir.names)
}

func (u unsynced) apply(names map[string]*inode) {
	if u.to == nil {
		delete(names, u.name)
	} else {
		names[u.name] = u.to
	}
}

// do does what op does. A sync of a directory makes the names in it durable, and nothing else. An op that was recorded may
// have failed: to make what is there, to remove what is not, or a directory that is not empty.
func (c *cache) do(op fileops.Op) {
	f := c.at(op.Name)
	switch op.Kind {
	case fileops.OpMkdir:
		if f != nil {
			return
		}
		c.set(op.Name, newDir())
	case fileops.OpCreate:
		c.set(op.Name, &inode{})
	case fileops.OpWrite:
		f.data = string(op.Data)
	case fileops.OpSync:
		f.safe = true
	case fileops.OpLink:
		c.set(op.To, f)
	case fileops.OpRename:
		c.set(op.Name, nil)
		c.set(op.To, f)
	case fileops.OpRemove:
		if f != nil && len(f.names) == 0 {
			c.set(op.Name, nil)
		}
	case fileops.OpSyncDir:
		c.names = slices.DeleteFunc(c.names, func(u unsynced) bool {
			if u.dir == f {
				u.apply(f.synced)
			}
			return u.dir == f
		})
	}
}

// lostContents are what a power cut may leave of content that was not synced.
var lostContents = []struct {
	name string
	left func(data string) string
}{
	{"no content", func(s string) string { return s }},
	{"content that was not synced", func(string) string { return "" }},
	{"half of the content that was not synced", func(s string) string { return s[:len(s)/2] }},
}

// crashes visits every disk that a power cut after ops may leave, once: with each choice of the names that were not synced,
// and each loss of content.
func crashes(t *testing.T, before disk, ops []fileops.Op, visit func(got disk, loss string)) {
	t.Helper()
	c := newCache(before)
	for _, op := range ops {
		c.do(op)
	}
	require.Less(t, len(c.names), 12, "too many choices")
	seen := map[string]bool{}
	for choice := range 1 << len(c.names) {
		for _, content := range lostContents {
			got := c.cut(choice, content.left)
			if text := got.String(); !seen[text] {
				seen[text] = true
				visit(got, fmt.Sprintf("%s, and names but for choice %b of %d", content.name, choice, len(c.names)))
			}
		}
	}
}

// cut returns the disk that has those of the names that were not synced whose bits are set in choice.
func (c *cache) cut(choice int, left func(string) string) disk {
	kept := map[*inode]map[string]*inode{}
	names := func(dir *inode) map[string]*inode {
		if kept[dir] == nil {
			kept[dir] = maps.Clone(dir.synced)
		}
		return kept[dir]
	}
	for i, u := range c.names {
		if choice&(1<<i) != 0 {
			u.apply(names(u.dir))
		}
	}
	d := disk{}
	var walk func(at string, dir *inode)
	walk = func(at string, dir *inode) {
		for base, f := range names(dir) {
			name := path.Join(at, base)
			if f.names != nil {
				d[name] = nil
				walk(name, f)
				continue
			}
			data := f.data
			if !f.safe {
				data = left(data)
			}
			d[name] = &data
		}
	}
	walk("", c.root)
	return d
}

func (d disk) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if d[name] == nil {
			fmt.Fprintf(&text, "%s/\n", name)
		} else {
			fmt.Fprintf(&text, "%s: %q\n", name, *d[name])
		}
	}
	return text.String()
}

func readDisk(t *testing.T, dir string) disk {
	t.Helper()
	d := disk{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(dir, p)
		require.NoError(t, err)
		switch {
		case name == ".":
		case e.IsDir():
			d[name] = nil
		default:
			data := read(t, p)
			d[name] = &data
		}
		return nil
	}))
	return d
}

func (d disk) write(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if p := filepath.Join(dir, name); d[name] == nil {
			require.NoError(t, os.Mkdir(p, 0o700))
		} else {
			require.NoError(t, os.WriteFile(p, []byte(*d[name]), 0o600))
		}
	}
	return dir
}
