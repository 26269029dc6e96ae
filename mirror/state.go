package mirror

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// lookEvery is how long a change that another process made to the state may go unnoticed by reads during an outage.
const lookEvery = 100 * time.Millisecond

// state holds the ledger, and keeps it in a file that several processes share.
//
// Every change is read, made and written under a lock on the directory, so that processes lose none of each other's. The
// published ledger is read without a lock. turn serialises changes and reloads in the process and guards what stands
// below it.
type state struct {
	dir    *fileops.Dir // nil: memory only
	owner  string       // names this Mirror in intents
	ledger atomic.Pointer[ledger]
	damage atomic.Pointer[error] // why the file can't be trusted; nil while it can
	looked atomic.Int64          // when the file was last looked at, in Unix nanoseconds

	turn    chan struct{}
	info    fs.FileInfo     // the file that the ledger was read from or written to; nil: none yet
	unsaved []func(*ledger) // changes that happened and could not be written
}

// openState opens the state in dir, which it makes; dir may be empty. [provider.ErrTampered] for a damaged file: to forget
// what was destroyed would bring it back. hook sees the file operations; nil except in tests.
func openState(dir string, hook fileops.Hook) (*state, error) {
	s := &state{owner: rand.Text(), turn: make(chan struct{}, 1)}
	s.ledger.Store(newLedger())
	if dir == "" {
		return s, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, provider.Invalidf("state directory: %w", err)
	}
	if err := fileops.Make(dir, hook); err != nil {
		return nil, fmt.Errorf("%w: state directory: %w", provider.ErrUnavailable, err)
	}
	if s.dir, err = fileops.Open(dir, hook); err != nil {
		return nil, fmt.Errorf("%w: state directory: %w", provider.ErrUnavailable, err)
	}
	if err = s.checkMode(); err == nil {
		err = s.load()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// checkMode refuses a directory in which others can put a state of their own.
func (s *state) checkMode() error {
	info, err := s.dir.Lstat(".")
	if err != nil {
		return fmt.Errorf("%w: state directory: %w", provider.ErrUnavailable, err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return provider.Invalidf("state directory %s of mode %#o: want no write permission for group and others", s.dir.Path("."), mode)
	}
	return nil
}

func (s *state) close() error {
	if s.dir == nil {
		return nil
	}
	return s.dir.Close()
}

// current returns the ledger as it is known.
func (s *state) current() *ledger { return s.ledger.Load() }

// sound returns [provider.ErrTampered] if the file was damaged since it was opened: what other processes destroyed can't
// be known then, and nothing may be served from the secondary.
func (s *state) sound() error {
	if err := s.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// look takes in what other processes have changed. If now is false it does so at most once in lookEvery, and without
// waiting for a change that is being written.
func (s *state) look(ctx context.Context, now bool) {
	if s.dir == nil {
		return
	}
	if !now && time.Now().UnixNano()-s.looked.Load() < int64(lookEvery) {
		return
	}
	select {
	case s.turn <- struct{}{}:
	default:
		if !now {
			return
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	defer func() { <-s.turn }()
	_ = s.load() // kept in damage
}

// load reads the file if it changed. A file that is gone is no change: it is written anew with the next one. The caller
// has the turn, except in openState.
func (s *state) load() error {
	err := s.reload()
	s.looked.Store(time.Now().UnixNano())
	switch {
	case err == nil:
		s.damage.Store(nil)
	case errors.Is(err, provider.ErrTampered), errors.Is(err, provider.ErrUnsupported):
		s.damage.Store(&err)
	}
	return err
}

func (s *state) reload() error {
	info, err := s.dir.Lstat(stateName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: state: %w", provider.ErrUnavailable, err)
	case s.info != nil && s.damage.Load() == nil && sameFile(info, s.info):
		return nil
	}
	data, info, err := s.dir.ReadFile(stateName, maxState)
	switch {
	case errors.Is(err, fileops.ErrType), errors.Is(err, fileops.ErrSize):
		return fmt.Errorf("%w: state: %w", provider.ErrTampered, err)
	case err != nil:
		return fmt.Errorf("%w: state: %w", provider.ErrUnavailable, err)
	}
	l, err := decodeState(data)
	if err != nil {
		return fmt.Errorf("state %s: %w", s.dir.Path(stateName), err)
	}
	for _, change := range s.unsaved {
		change(l)
	}
	s.info = info
	s.ledger.Store(l)
	return nil
}

// sameFile tells whether a and b describe one content: every change of the file is a new file.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// update makes a change and writes it before it returns. On an error the change is not made.
func (s *state) update(ctx context.Context, change func(*ledger)) error {
	return s.change(ctx, change, false)
}

// note is update for what has happened already: it counts from now on even if it can't be written, which is tried again
// with the next change.
func (s *state) note(ctx context.Context, change func(*ledger)) error {
	return s.change(ctx, change, true)
}

func (s *state) change(ctx context.Context, change func(*ledger), happened bool) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		if !happened {
			return ctx.Err()
		}
		s.turn <- struct{}{} // a holder's wait for the file is bounded by its own context
	}
	defer func() { <-s.turn }()
	unlock, err := s.lockFile(ctx)
	if err == nil {
		defer unlock()
		if err = s.take(); err == nil {
			next := s.current().clone()
			change(next)
			if err = s.save(next); err == nil {
				s.unsaved = nil
				s.ledger.Store(next)
				return nil
			}
		}
	}
	if happened {
		next := s.current().clone()
		change(next)
		s.ledger.Store(next)
		s.unsaved = append(s.unsaved, change)
	}
	return err
}

// take is load under the lock of the file.
func (s *state) take() error {
	if s.dir == nil {
		return nil
	}
	return s.load()
}

func (s *state) save(l *ledger) error {
	if s.dir == nil {
		return nil
	}
	data, err := encodeState(l)
	if err != nil {
		return err
	}
	if err := s.dir.Replace(stateName, data); err != nil {
		return fmt.Errorf("%w: state: %w", provider.ErrUnavailable, err)
	}
	if s.info, err = s.dir.Lstat(stateName); err != nil {
		s.info = nil // read again next time
	}
	return nil
}
