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

// state holds the ledger, and keeps it in two files that several processes share: the manifest, which the primary signed,
// and the changes since then, which nobody did (stateFile).
//
// Every change is read, made and written under a lock on the directory, so that processes lose none of each other's. What
// is published is read without a lock. turn serialises changes and reloads in the process and guards what stands below it.
type state struct {
	dir    *fileops.Dir // nil: memory only
	owner  string       // names this Mirror in intents
	notary *notary      // nil: nothing is signed here
	reader *reader      // says which manifests are to be trusted

	ledger atomic.Pointer[ledger]
	signed atomic.Pointer[manifest] // what the ledger rests on; nil: no manifest
	damage atomic.Pointer[error]    // why the files can't be trusted; nil while they can
	saved  atomic.Int64             // when this process last wrote them, in Unix nanoseconds
	looked atomic.Int64             // when the files were last looked at, in Unix nanoseconds

	turn    chan struct{}
	mirror  string                 // the mirror's name
	files   map[string]fs.FileInfo // as they were read or written last
	changes *stateFile             // what the ledger adds to the manifest, as it stands in the file; nil: no file
	unsaved []func(*ledger)        // changes that happened and could not be written
}

// openState opens the state in dir, which it makes; dir may be empty. What is damaged is left as it is, and shows in sound.
// hook sees the file operations; nil except in tests.
func openState(dir string, hook fileops.Hook, r *reader, n *notary) (*state, error) {
	s := &state{owner: rand.Text(), notary: n, reader: r, turn: make(chan struct{}, 1), mirror: rand.Text(), files: map[string]fs.FileInfo{}}
	s.ledger.Store(newLedger())
	if known := r.seen.Load(); known != nil {
		s.mirror = known.Mirror // a directory that was made anew carries on
	}
	if dir == "" {
		return s, nil
	}
	var err error
	if s.dir, err = openDir(dir, hook); err != nil {
		return nil, fmt.Errorf("manifest directory: %w", err)
	}
	if err = s.load(); err != nil && s.damage.Load() == nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openDir opens a directory of the mirror's own, which it makes. [provider.ErrInvalid] for one in which others can put files
// of their own, [provider.ErrUnsupported] where nobody can tell.
func openDir(path string, hook fileops.Hook) (*fileops.Dir, error) {
	if !fileops.ModesTell {
		return nil, provider.Unsupportedf("directory %s: this system does not tell by its mode who can write there", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, provider.Invalidf("%w", err)
	}
	if err := fileops.Make(path, hook); err != nil {
		return nil, fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
	}
	dir, err := fileops.Open(path, hook)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
	}
	info, err := dir.Lstat(".")
	if err != nil {
		err = fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
	} else if mode := info.Mode().Perm(); mode&0o022 != 0 {
		err = provider.Invalidf("%s of mode %#o: want no write permission for group and others", path, mode)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
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

// load reads the files if they changed. Files that are gone are no change: they are written anew with the next one. The
// caller has the turn, except in openState.
func (s *state) load() error {
	err := s.reload()
	s.looked.Store(time.Now().UnixNano())
	switch {
	case err == nil:
		s.damage.Store(nil)
	case errors.Is(err, provider.ErrTampered), errors.Is(err, provider.ErrUnsupported), errors.Is(err, provider.ErrStale):
		s.damage.Store(&err)
	}
	return err
}

// reload reads the changes before the manifest that they belong to, since a writer replaces them after it: what is read while
// both are replaced is changes to the manifest before, which are void, and not changes to a manifest that is not there.
func (s *state) reload() (err error) {
	defer func() {
		if err != nil {
			clear(s.files) // what was read and not taken in is read again
		}
	}()
	changesData, changed, err := s.read(stateName)
	if err != nil {
		return err
	}
	manifestData, manifestChanged, err := s.read(manifestName)
	if err != nil || !manifestChanged && !changed {
		return err
	}
	signed, changes := s.signed.Load(), s.changes
	if manifestChanged && (signed == nil || hashOf(manifestData) != signed.hash) {
		if signed, err = s.reader.accept(manifestData); err != nil {
			return fmt.Errorf("manifest %s: %w", s.dir.Path(manifestName), err)
		}
	}
	if changed {
		if changes, err = decodeState(changesData); err != nil {
			return fmt.Errorf("state %s: %w", s.dir.Path(stateName), err)
		}
	}
	l, err := join(signed, changes)
	if err != nil {
		return fmt.Errorf("state %s: %w", s.dir.Path(stateName), err)
	}
	l.inherit(s.current())
	for _, change := range s.unsaved {
		change(l)
	}
	s.changes = changes
	s.publish(signed, l)
	return nil
}

// read returns a file's content if it has changed.
func (s *state) read(name string) (data []byte, changed bool, err error) {
	info, err := s.dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("%w: state: %w", provider.ErrUnavailable, err)
	case s.files[name] != nil && s.damage.Load() == nil && sameFile(info, s.files[name]):
		return nil, false, nil
	}
	data, info, err = s.dir.ReadFile(name, maxState)
	switch {
	case errors.Is(err, fileops.ErrType), errors.Is(err, fileops.ErrSize):
		return nil, false, fmt.Errorf("%w: state: %w", provider.ErrTampered, err)
	case err != nil:
		return nil, false, fmt.Errorf("%w: state: %w", provider.ErrUnavailable, err)
	}
	s.files[name] = info
	return data, true, nil
}

// sameFile tells whether a and b describe one content: every change of the file is a new file.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (s *state) publish(signed *manifest, l *ledger) {
	if signed != nil {
		s.mirror = signed.mirror
		s.signed.Store(signed)
	}
	s.ledger.Store(l)
}
