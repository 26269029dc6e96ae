// Package fileops holds the file operations that a store's files are made with, and says of each what is atomic and what
// is durable when it returns. What it reads may be hostile.
//
//	Create    a new file appears whole or not at all, and never takes the place of another; durable
//	CreateDir a new directory appears with its first file or not at all; durable
//	Replace   a file changes from its old content to the new in one step; durable
//	Remove    files are gone, one after the other; durable
//	Mkdir     a directory appears; durable
//	Sync      names that someone else may have left without a sync are durable
//	ReadFile  regular files of a limited size only; never follows a link out, never waits on a FIFO
//	Lock      one holder on the machine; a process that dies lets go
//
// Durable means: after a power cut the file system shows the new state, given a disk that keeps what it acknowledged to
// fsync, and names that no one finds there unless the directory that holds them was synced. A new file is written and
// synced under a temporary name in the top of its [Dir], then linked or renamed to its own name, then the directory is
// synced. A step that fails leaves the old state, and nothing temporary unless removing that fails too. One exception: if only the last sync of a directory fails, the new state stands, but may be lost in a
// power cut; the call returns the error.
//
// Files are made with mode 0600, directories with 0700.
package fileops

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// tempPrefix begins the name of every temporary file or directory. It begins with a dot, as no name of a store's own does.
const tempPrefix = ".tmp-"

// Dir is an open directory. Names are slash-separated paths below it, and reach nothing outside, also not through
// symbolic links ([os.Root]). Every error is an *fs.PathError with the whole path.
type Dir struct {
	root *os.Root
	path string
	hook Hook
}

// Open opens a directory. hook may be nil.
func Open(path string, hook Hook) (*Dir, error) {
	d := &Dir{path: path, hook: hook}
	err := d.step(Op{Kind: OpOpen, Name: "."}, func() (err error) {
		d.root, err = os.OpenRoot(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Make makes the directory path, whose parent exists. It is no error if a directory is there.
func Make(path string, hook Hook) error {
	parent, err := Open(filepath.Dir(path), hook)
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Mkdir(filepath.Base(path))
}

// Close ends the use of d.
func (d *Dir) Close() error { return d.root.Close() }

// Sub opens a directory below d. A symbolic link is refused with [ErrType], like whatever else is no directory.
func (d *Dir) Sub(name string) (*Dir, error) {
	info, err := d.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, d.fail("open", name, wrongType(fs.ModeDir, info))
	}
	var root *os.Root
	err = d.step(Op{Kind: OpOpen, Name: name}, func() error {
		root, err = d.root.OpenRoot(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	sub := &Dir{root: root, path: d.Path(name), hook: d.hook.below(name)}
	if opened, err := root.Stat("."); err != nil || !os.SameFile(info, opened) {
		sub.Close()
		return nil, d.fail("open", name, fmt.Errorf("%w: it was replaced meanwhile", ErrType))
	}
	return sub, nil
}

// Path returns the whole path of name, for messages.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

// Create makes the file name with the given content. fs.ErrExist if something stands there, whatever it is. On file
// systems without hard links (FAT) that check and the making are two steps, so that callers must hold a lock there.
func (d *Dir) Create(name string, data []byte) error {
	temp := tempName()
	if err := d.stage(temp, data); err != nil {
		return err
	}
	err := d.publish(temp, name)
	// The link above is the new file already. What is left here is swept later if it can't be removed now.
	_ = d.unlink(temp)
	if err != nil {
		return err
	}
	return d.syncDir(path.Dir(name))
}

// CreateDir makes the directory name with one file in it. An error if something stands there, whatever it is; fs.ErrExist
// for a directory. An empty one may be replaced if it was made in this very moment.
func (d *Dir) CreateDir(name, file string, data []byte) (err error) {
	temp := tempName()
	if err := d.mkdir(temp); err != nil {
		return err
	}
	if err = d.stage(path.Join(temp, file), data); err == nil {
		// It follows the file's own sync, so that a journal has it already.
		if err = d.syncDir(temp); err == nil {
			err = d.rename(temp, name)
		}
		if err != nil {
			_ = d.unlink(path.Join(temp, file))
		}
	}
	if err != nil {
		_ = d.unlink(temp)
		return err
	}
	return d.syncDir(path.Dir(name))
}

// Replace gives the file name the given content, whether or not it was there.
func (d *Dir) Replace(name string, data []byte) error {
	temp := tempName()
	if err := d.stage(temp, data); err != nil {
		return err
	}
	if err := d.rename(temp, name); err != nil {
		_ = d.unlink(temp)
		return err
	}
	return d.syncDir(path.Dir(name))
}

// Remove removes files and empty directories, which stand in one directory. It is no error if one is gone already.
func (d *Dir) Remove(names ...string) error {
	for _, name := range names {
		if err := d.unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	return d.syncDir(path.Dir(names[0]))
}

// Mkdir makes a directory. It is no error if one is there.
func (d *Dir) Mkdir(name string) error {
	err := d.mkdir(name)
	if errors.Is(err, fs.ErrExist) {
		info, lerr := d.Lstat(name)
		if lerr != nil {
			return lerr
		}
		if info.IsDir() {
			return nil
		}
		return d.fail("mkdir", name, wrongType(fs.ModeDir, info))
	}
	if err != nil {
		return err
	}
	return d.syncDir(path.Dir(name))
}

// Sync makes the names in directories durable, whoever gave them: a process may have died between that and its sync.
func (d *Dir) Sync(names ...string) error {
	for _, name := range names {
		if err := d.syncDir(name); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes what a writer left under temporary names when it died. The caller holds the lock of all writers, so that
// none of it is in use. What can't be removed keeps nothing else.
func (d *Dir) Sweep() error {
	names, err := d.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.DeleteFunc(names, func(n string) bool { return !isTemp(n) }) {
		errs = append(errs, d.discard(name))
	}
	return errors.Join(errs...)
}

// discard removes a file, or a directory and the files in it.
func (d *Dir) discard(name string) error {
	err := d.unlink(name)
	if !errors.Is(err, fs.ErrExist) { // which is how a directory says that it is not empty
		return err
	}
	sub, err := d.Sub(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	files, err := sub.List()
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := sub.unlink(file); err != nil {
			return err
		}
	}
	return d.unlink(name)
}

func tempName() string {
	var b [8]byte
	rand.Read(b[:])
	return tempPrefix + hex.EncodeToString(b[:])
}

func isTemp(name string) bool {
	random, ok := strings.CutPrefix(name, tempPrefix)
	_, err := hex.DecodeString(random)
	return ok && err == nil
}

// stage writes data to the new file name and syncs it. On an error there is no such file.
func (d *Dir) stage(name string, data []byte) (err error) {
	var f *os.File
	err = d.step(Op{Kind: OpCreate, Name: name}, func() error {
		f, err = d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	err = d.step(Op{Kind: OpWrite, Name: name, Data: data}, func() error { _, err := f.Write(data); return err })
	if err == nil {
		err = d.step(Op{Kind: OpSync, Name: name}, f.Sync)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = d.fail("close", name, cerr)
	}
	if err != nil {
		_ = d.unlink(name)
	}
	return err
}

// publish gives a staged file its name, which must be free. The temporary name may stay.
func (d *Dir) publish(temp, name string) error {
	err := d.step(Op{Kind: OpLink, Name: temp, To: name}, func() error { return d.root.Link(temp, name) })
	if !withoutLinks(err) {
		return err
	}
	if _, err := d.Lstat(name); err == nil {
		return d.fail("create", name, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.rename(temp, name)
}

// withoutLinks tells whether err is what a file system that has no hard links answers to link(2).
func withoutLinks(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP)
}

func (d *Dir) mkdir(name string) error {
	return d.step(Op{Kind: OpMkdir, Name: name}, func() error { return d.root.Mkdir(name, 0o700) })
}

func (d *Dir) rename(from, to string) error {
	return d.step(Op{Kind: OpRename, Name: from, To: to}, func() error { return d.root.Rename(from, to) })
}

func (d *Dir) unlink(name string) error {
	return d.step(Op{Kind: OpRemove, Name: name}, func() error { return d.root.Remove(name) })
}

// syncDir makes the names in a directory durable. Some file systems have nothing to sync there and answer EINVAL.
func (d *Dir) syncDir(name string) error {
	return d.step(Op{Kind: OpSyncDir, Name: name}, func() error {
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
		return nil
	})
}
