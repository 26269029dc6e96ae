package fileops

import (
	"errors"
	"io/fs"
	"os"
	"path"
)

// Hook is told of each primitive operation before it is done, in order. What it returns as an error, the operation
// fails with, undone. Tests record with it and make disks fail; programs leave it nil. It may be called from several
// goroutines at once.
type Hook func(Op) error

// Op is one primitive operation.
type Op struct {
	Kind Kind
	Name string // path below the Dir that was opened first; a temporary file's begins with ".tmp-"
	To   string // the new name of OpLink and OpRename
	Data []byte // what OpWrite writes. Not to be changed or kept
}

// Kind is a primitive operation.
type Kind string

// The primitive operations. Those from OpMkdir on change the directory.
const (
	OpOpen    Kind = "open"    // open a directory
	OpStat    Kind = "stat"    // lstat
	OpList    Kind = "list"    // read the names in a directory
	OpRead    Kind = "read"    // open and read a file
	OpLock    Kind = "lock"    // open the lock file
	OpMkdir   Kind = "mkdir"   // mkdir
	OpCreate  Kind = "create"  // open with O_CREAT and O_EXCL
	OpWrite   Kind = "write"   // write all of Data
	OpSync    Kind = "sync"    // fsync of a file
	OpLink    Kind = "link"    // link from Name to To
	OpRename  Kind = "rename"  // rename from Name to To
	OpRemove  Kind = "remove"  // unlink or rmdir
	OpSyncDir Kind = "syncdir" // fsync of a directory
	OpChmod   Kind = "chmod"   // chmod
)

// below returns the hook of a directory below, so that it sees names below the first one.
func (h Hook) below(dir string) Hook {
	if h == nil {
		return nil
	}
	return func(op Op) error {
		op.Name = path.Join(dir, op.Name)
		if op.To != "" {
			op.To = path.Join(dir, op.To)
		}
		return h(op)
	}
}

func (d *Dir) before(op Op) error {
	if d.hook == nil {
		return nil
	}
	return d.hook(op)
}

// step does one primitive operation.
func (d *Dir) step(op Op, do func() error) error {
	err := d.before(op)
	if err == nil {
		err = do()
	}
	if err == nil {
		return nil
	}
	if op.To != "" {
		op.Name = op.To
	}
	return d.fail(string(op.Kind), op.Name, err)
}

// fail returns err with the whole path of name in place of the path that package os knows.
func (d *Dir) fail(op, name string, err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	return &fs.PathError{Op: op, Path: d.Path(name), Err: err}
}
