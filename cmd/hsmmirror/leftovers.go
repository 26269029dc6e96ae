package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
)

// leftovers are files and directories that a command has made, or is about to make, and that go again if it fails.
type leftovers []string

// expect notes that path, which may not be there yet, is about to be made: with it its topmost parent that is not there either.
func (l *leftovers) expect(path string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return
	}
	topmost := ""
	for {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		topmost, path = path, filepath.Dir(path)
	}
	if topmost != "" {
		*l = append(*l, topmost)
	}
}

// remove removes everything that was noted.
func (l leftovers) remove() error {
	var errs []error
	for _, path := range l {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// opensKeystore notes which keystore is about to be opened, and so made if it is not there.
func (a *app) opensKeystore(dir string) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		a.fresh = append(a.fresh, dir)
	}
}

// dropEmpty removes the keystores that a command has made before it failed, if they hold no key. One that another process works with
// stays.
func (a *app) dropEmpty() {
	for _, path := range a.fresh {
		dir, err := fileops.Open(path, nil)
		if err != nil {
			continue // it was not made
		}
		unlock, held, err := dir.TryLock(keystoreLock)
		if err == nil && held {
			if isEmptyKeystore(path) {
				err = os.RemoveAll(path)
			}
			unlock()
		}
		if err = errors.Join(err, dir.Close()); err != nil {
			a.notes.add("warning", "an empty keystore is left: %v", err)
		}
	}
}

// The files of a keystore that holds no key (docs/softfile-format.md).
const (
	keystoreLock = "lock"
	keystoreKey  = "storekey.jwe"
)

// isEmptyKeystore tells whether a directory holds nothing but what a keystore has without any key, and empty files.
func isEmptyKeystore(path string) bool {
	errFound := errors.New("found")
	return filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		known := slices.Contains([]string{keystoreLock, keystoreKey}, e.Name()) && filepath.Dir(name) == filepath.Clean(path)
		if err == nil && !known && info.Size() > 0 {
			err = errFound
		}
		return err
	}) == nil
}
