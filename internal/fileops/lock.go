package fileops

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Bounds of the pauses between two attempts at a lock that another holds.
const (
	minPause = time.Millisecond
	maxPause = 25 * time.Millisecond
)

// Lock waits until no one else holds the lock file name, which it makes if it is missing, and holds it until unlock is
// called. All who ask on this machine exclude each other, in one process or in several; memory that goroutines share needs
// a mutex besides. The lock ends with its process. The wait ends with ctx, whose error is then returned.
func (d *Dir) Lock(ctx context.Context, name string) (unlock func(), err error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		unlock, held, err := d.TryLock(name)
		if err != nil || held {
			return unlock, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// TryLock is Lock without the wait: held is false if another holds the lock.
func (d *Dir) TryLock(name string) (unlock func(), held bool, err error) {
	var f *os.File
	err = d.step(Op{Kind: OpLock, Name: name}, func() error {
		f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	held, err = d.flock(f, name)
	if err != nil || !held {
		f.Close()
		return nil, false, err
	}
	return func() { f.Close() }, true, nil
}

// flock locks f, which was opened as name. It reports no lock for a file that is no longer there under its name: whoever
// replaced it may hold the new one.
func (d *Dir) flock(f *os.File, name string) (held bool, err error) {
	opened, err := f.Stat()
	if err != nil {
		return false, d.fail("lock", name, err)
	}
	if held, err = tryFlock(f); err != nil {
		return false, d.fail("lock", name, err)
	}
	if !held {
		return false, nil
	}
	named, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, d.fail("lock", name, err)
	case !named.Mode().IsRegular():
		return false, d.fail("lock", name, wrongType(0, named))
	}
	return os.SameFile(opened, named), nil
}
