package softfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// change is one change of a key's directory, under the lock.
type change struct {
	store *Store
	dir   *fileops.Dir // the store's
	kid   string
	entry *entry // as it stands, but for what made it stale; nil if the kid is new
	swept []int  // destroyed versions whose records a writer that died had left, and that are gone now
	stale bool   // entry is to be read anew in the end
}

// change runs do under the lock with the key's directory read anew, and describes the version that do returns.
func (s *Store) change(ctx context.Context, kid string, do func(*change) (version int, err error)) (provider.KeyRef, error) {
	var number int
	err := s.alter(ctx, kid, func(c *change) (err error) {
		number, err = do(c)
		return err
	})
	if err != nil {
		return provider.KeyRef{}, err
	}
	e := s.index.entry(kid)
	v, err := e.version(kid, number)
	if err != nil {
		return provider.KeyRef{}, fmt.Errorf("read back: %w", err)
	}
	now := time.Now()
	return s.describe(v, e.state(now, v), now), nil
}

// alter runs do under the lock, with the key's directory read anew.
func (s *Store) alter(ctx context.Context, kid string, do func(*change) error) error {
	return s.exclusive(ctx, func(dir *fileops.Dir) error {
		e, err := s.index.reload(ctx, dir, kid, true)
		if err != nil {
			return err
		}
		if err := e.writable(); err != nil {
			return err
		}
		c := &change{store: s, dir: dir, kid: kid, entry: e}
		if err := c.takeOver(); err != nil {
			return err
		}
		err = do(c)
		// Whatever came of it, the store answers from what stands in the directory now.
		return errors.Join(err, c.show(context.WithoutCancel(ctx), err != nil))
	})
}

// takeOver finishes what a writer that died may have left: records of destroyed versions, and names that it made and did
// not sync. Those in the key's own directory are synced with the next change in it. Those above it no later change would
// sync, so that they are synced before this store first writes, and before it first writes to a key that it did not make.
func (c *change) takeOver() error {
	synced := c.store.synced
	if c.entry != nil && !synced[keyPath(c.kid)] {
		if err := c.dir.Sync(keysDir); err != nil {
			return classify(err)
		}
		synced[keyPath(c.kid)] = true
	}
	if !synced["."] {
		if err := c.dir.Sync("."); err != nil {
			return classify(err)
		}
		synced["."] = true
	}
	if c.entry == nil {
		return nil
	}
	c.swept = c.entry.leftovers
	c.stale = len(c.swept) > 0
	return c.entry.removeLeftovers(c.dir)
}

// confirm is for a caller who is told that what he wants stands there already: it may have been left by a writer that died,
// or by a call that failed in its last step.
func (c *change) confirm() error {
	if c.entry == nil {
		return nil
	}
	return classify(c.dir.Sync(keyPath(c.kid)))
}

// show makes the store answer from the key as it stands now.
func (c *change) show(ctx context.Context, failed bool) error {
	if failed || c.stale {
		_, err := c.store.index.reload(ctx, c.dir, c.kid, true)
		return err
	}
	if c.entry == nil {
		return nil
	}
	return c.store.index.put(ctx, c.entry)
}

// exclusive runs do while no other writer is at work, in this process or another.
func (s *Store) exclusive(ctx context.Context, do func(*fileops.Dir) error) error {
	if err := s.writing.lock(ctx); err != nil {
		return err
	}
	defer s.writing.unlock()
	return s.readDir(func(dir *fileops.Dir) error {
		unlock, err := dir.Lock(ctx, lockFile)
		if err == nil {
			defer unlock()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return classify(err)
		}
		return do(dir)
	})
}

// readDir runs do with the store's directory open.
func (s *Store) readDir(do func(*fileops.Dir) error) error {
	dir, err := fileops.Open(s.path, s.hook)
	if err != nil {
		return classify(err)
	}
	defer dir.Close()
	return do(dir)
}

// add writes the record of the version after the highest number.
func (c *change) add(spec provider.KeySpec, key provider.ParsedMaterial, w provider.Windows, imported bool) (int, error) {
	number, err := c.entry.next(c.kid)
	if err != nil {
		return 0, err
	}
	created := time.Now().UTC().Truncate(time.Second)
	rec := &record{
		Format: formatVersion, KID: c.kid, Version: number, Alg: spec.Alg, Bits: key.Bits, Uses: spec.Uses, Export: spec.Export,
		Label: spec.Label, Tags: spec.Tags, Created: created, ActiveFrom: created.Add(w.PublishBefore), RetireAfter: seconds(w.RetireAfter),
		Imported: imported,
	}
	if rec.Public, rec.Fingerprint, err = publicFor(key); err != nil {
		return 0, err
	}
	return number, c.create(rec, key)
}

// create writes a new record, with the private half encrypted if there is one.
func (c *change) create(rec *record, key provider.ParsedMaterial) error {
	if err := c.seal(rec, key); err != nil {
		return err
	}
	v, err := rec.check()
	if err != nil {
		return provider.Invalidf("a record that could not be read again: %v", err)
	}
	data, err := rec.encode()
	if err != nil {
		return err
	}
	if c.entry == nil {
		err = c.first(recordName(rec.Version), data)
	} else {
		err = c.dir.Create(recordPath(rec.KID, rec.Version), data)
	}
	c.stale = c.stale || err != nil
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", provider.ErrTampered, err) // the number was free, and writers are locked out
	}
	if err != nil {
		return classify(err)
	}
	c.entry = c.entry.with(v)
	return nil
}

// first makes the directory of a new key with its first file.
func (c *change) first(file string, data []byte) error {
	if c.store.index.empty() {
		if err := c.dir.Mkdir(keysDir); err != nil {
			return err
		}
	}
	err := c.dir.CreateDir(keyPath(c.kid), file, data)
	if err == nil {
		c.store.synced[keyPath(c.kid)] = true
	}
	return err
}

func (c *change) seal(rec *record, key provider.ParsedMaterial) (err error) {
	if !hasPrivate(key) {
		return nil
	}
	if err := c.store.vault.verify(c.dir); err != nil {
		return err
	}
	rec.Private, err = c.store.vault.seal(rec, key)
	return err
}

func hasPrivate(key provider.ParsedMaterial) bool {
	return key.Private != nil || !key.Symmetric.Empty()
}
