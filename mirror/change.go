package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

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
			if err = s.save(ctx, next); err == nil {
				s.unsaved = nil
				s.saved.Store(time.Now().UnixNano())
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

// take is load under the lock of the files.
func (s *state) take() error {
	if s.dir == nil {
		return nil
	}
	return s.load()
}

// save writes l, as a manifest if the primary signs it, else as changes to the one there is, and publishes it.
func (s *state) save(ctx context.Context, l *ledger) error {
	if s.dir == nil {
		s.publish(nil, l)
		return nil
	}
	signed := s.signed.Load()
	if s.notary != nil {
		m, err := s.notary.issue(context.WithoutCancel(ctx), signed, s.mirror, s.reader.least(signed), l)
		if err == nil {
			return s.saveSigned(m)
		}
	}
	changes := l.since(signed)
	if err := s.write(changes); err != nil {
		return err
	}
	s.publish(signed, l)
	return nil
}

// saveSigned writes a new manifest, then what it leaves out. Changes to the manifest before are void with it, so that in most
// cases there is no second file to write.
func (s *state) saveSigned(m issued) error {
	if err := s.replace(manifestName, m.text); err != nil {
		return err
	}
	s.reader.note(m.manifest)
	if len(m.rest.keys) == 0 {
		s.publish(m.manifest, m.ledger)
		s.changes = nil
		return nil
	}
	l := m.ledger.clone()
	for v, e := range m.rest.all() {
		l.set(v, e)
	}
	s.publish(m.manifest, l)
	return s.write(&stateFile{stateFormat, m.generation, m.rest.keys})
}

// write writes the changes to the manifest.
func (s *state) write(changes *stateFile) error {
	data, err := changes.encode()
	if err == nil {
		err = s.replace(stateName, data)
	}
	if err == nil {
		s.changes = changes
	}
	return err
}

func (s *state) replace(name string, data []byte) error {
	if err := s.dir.Replace(name, data); err != nil {
		return fmt.Errorf("%w: state: %w", provider.ErrUnavailable, err)
	}
	info, err := s.dir.Lstat(name)
	if err != nil {
		delete(s.files, name) // read again next time
		return nil
	}
	s.files[name] = info
	return nil
}

// says tells whether the files are younger than age and say already what change would make them say, but for the time of
// the last confirmation.
func (s *state) says(change func(*ledger), age time.Duration) bool {
	signs := s.notary != nil && !errors.Is(s.notary.failed(), provider.ErrUnsupported)
	saved := time.Unix(0, s.saved.Load())
	if signed := s.signed.Load(); signed != nil && signed.issued.After(saved) {
		saved = signed.issued // by another process
	}
	if signs && s.notary.failed() != nil || time.Since(saved) >= age {
		return false
	}
	now := s.current()
	next := now.clone()
	change(next)
	for v, e := range next.all() {
		if was, known := now.get(v); !known || !was.sameAs(e) || signs && !e.signed {
			return false
		}
	}
	return true
}

// unsigned returns why the ledger's last change is not in the manifest; nil if it is, or if the primary can't sign at all.
func (s *state) unsigned() error {
	if s.dir == nil || s.notary == nil {
		return nil
	}
	err := s.notary.failed()
	if errors.Is(err, provider.ErrUnsupported) {
		return nil
	}
	return err
}
