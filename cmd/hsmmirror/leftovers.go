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
type leftovers []leftover

type leftover struct {
	path    string
	parents []string // that were not there either, the innermost first
}

// expect notes that path is about to be made, with the parents that it lacks. What is there already is left alone.
func (l *leftovers) expect(path string) {
	path, err := filepath.Abs(path)
	if err != nil || !missing(path) {
		return
	}
	made := leftover{path: path}
	for dir := filepath.Dir(path); missing(dir); dir = filepath.Dir(dir) {
		made.parents = append(made.parents, dir)
	}
	*l = append(*l, made)
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// remove removes everything that was noted. Parents go only if they are empty: they may hold what another program has put there
// since, such as ~/.config on a new account.
func (l leftovers) remove() error {
	var errs []error
	for _, made := range l {
		errs = append(errs, os.RemoveAll(made.path))
		for _, dir := range made.parents {
			_ = os.Remove(dir)
		}
	}
	return errors.Join(errs...)
}

// opensKeystore notes which keystore is about to be opened, and so made if it is not there.
func (a *app) opensKeystore(dir string) {
	if missing(dir) {
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
