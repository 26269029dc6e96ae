package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// maxSkew is how far the clock of the host that signs may be ahead of the reader's.
const maxSkew = 5 * time.Minute

// reader decides which manifests are to be trusted. It remembers the highest generation that it has seen, in memory and, if
// it has a directory of its own, in a file there.
//
// A manifest is checked first and remembered then, so that a forged one changes nothing.
type reader struct {
	pin  string       // thumbprint of the manifest key; empty: any
	dir  *fileops.Dir // nil: memory only
	seen atomic.Pointer[seen]
	kept atomic.Pointer[seen] // as it stands in the file
	news func()               // called when seen has changed
}

// seen is what a reader remembers of the latest manifest.
type seen struct {
	Pin        string `json:"pin,omitempty"` // as configured then
	Mirror     string `json:"mirror"`
	Key        string `json:"key"` // thumbprint of the key that signed it
	Generation int64  `json:"generation"`
	Hash       string `json:"hash"`
}

const (
	seenName = "seen.json"
	maxSeen  = 4 << 10
)

// openReader returns the reader with the given pin whose directory, which it makes, is dir; both may be empty.
// [provider.ErrTampered] for a damaged file there.
func openReader(pin, dir string, news func()) (*reader, error) {
	r := &reader{pin: pin, news: news}
	if dir == "" {
		return r, nil
	}
	var err error
	if r.dir, err = openDir(dir, nil); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	s, err := r.load()
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.seen.Store(s)
	r.kept.Store(s)
	return r, nil
}

func (r *reader) close() error {
	if r.dir == nil {
		return nil
	}
	return r.dir.Close()
}

// load reads the file; nil if there is none.
func (r *reader) load() (*seen, error) {
	data, _, err := r.dir.ReadFile(seenName, maxSeen)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, fileops.ErrType), errors.Is(err, fileops.ErrSize):
		return nil, fmt.Errorf("%w: %w", provider.ErrTampered, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
	}
	var s seen
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil || s.Generation < 1 || s.Key == "" || s.Hash == "" {
		return nil, fmt.Errorf("%w: %s: not as this package writes it", provider.ErrTampered, r.dir.Path(seenName))
	}
	return &s, nil
}

// accept checks a manifest that lies in the mirror's directory.
func (r *reader) accept(data []byte) (*manifest, error) {
	known := r.seen.Load()
	if r.dir != nil {
		kept, err := r.load() // another process may have seen a later one
		if err != nil {
			return nil, err
		}
		if kept != nil && (known == nil || kept.Generation > known.Generation) {
			known = kept
		}
	}
	anchor := r.pin
	if r.pin != "" && known != nil && known.Pin == r.pin {
		anchor = known.Key // once a key has signed over, its successor's word counts alone
	}
	m, err := readManifest(data, anchor)
	if err != nil {
		return nil, err
	}
	if err := known.allows(m); err != nil {
		return nil, err
	}
	r.note(m)
	return m, nil
}

// allows returns an error for a manifest that is not the one seen or a later one of the same mirror.
func (s *seen) allows(m *manifest) error {
	switch {
	case s == nil:
		return nil
	case m.mirror != s.Mirror:
		return fmt.Errorf("%w: manifest of another mirror", provider.ErrTampered)
	case m.generation < s.Generation:
		return fmt.Errorf("%w: manifest of generation %d was put back: %d was seen", provider.ErrTampered, m.generation, s.Generation)
	case m.generation == s.Generation && m.hash != s.Hash:
		return fmt.Errorf("%w: another manifest of generation %d was seen", provider.ErrTampered, m.generation)
	}
	return nil
}

func seenIn(pin string, m *manifest) *seen {
	return &seen{Pin: pin, Mirror: m.mirror, Key: m.key, Generation: m.generation, Hash: m.hash}
}

// least returns the generation from which on a manifest after the given one is new to every reader that this one knows of.
func (r *reader) least(after *manifest) int64 {
	least := int64(1)
	if s := r.seen.Load(); s != nil {
		least = s.Generation + 1
	}
	if after != nil {
		least = max(least, after.generation+1)
	}
	return least
}

// note notes a manifest that was checked, or that this process has had signed.
func (r *reader) note(m *manifest) {
	r.seen.Store(seenIn(r.pin, m))
	if r.dir != nil {
		r.news()
	}
}

// keep brings what was seen into the file. Several processes may share it: the highest generation stays.
func (r *reader) keep(ctx context.Context) error {
	now := r.seen.Load()
	if r.dir == nil || now == nil || r.kept.Load() != nil && *r.kept.Load() == *now {
		return nil
	}
	unlock, err := r.dir.Lock(ctx, "seen.lock")
	if err != nil {
		return unavailable(ctx, "lock of the state directory", err)
	}
	defer unlock()
	there, err := r.load()
	if err != nil {
		return err
	}
	if there == nil || there.Generation < now.Generation {
		data, err := json.Marshal(now)
		if err != nil {
			return fmt.Errorf("seen manifest: %w", err)
		}
		if err := r.dir.Replace(seenName, append(data, '\n')); err != nil {
			return fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
		}
	}
	r.kept.Store(now)
	return nil
}

// fresh returns [provider.ErrStale] for a manifest that is too old at now to be served from, by its own expiry or by the
// reader's limit, and for one that seems to come from the future: the clock is wrong then, and no age can be told.
func (m *manifest) fresh(now time.Time, limit time.Duration) error {
	switch {
	case now.Add(maxSkew).Before(m.issued):
		return fmt.Errorf("%w: the manifest was signed at %v, and it is %v: the clock is wrong", provider.ErrStale, m.issued, now.UTC())
	case !now.Before(m.expires):
		return fmt.Errorf("%w: the manifest expired at %v", provider.ErrStale, m.expires)
	case now.Sub(m.issued) >= limit:
		return fmt.Errorf("%w: the manifest was signed at %v, more than %v ago", provider.ErrStale, m.issued, limit)
	}
	return nil
}
