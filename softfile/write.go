package softfile

import (
	"context"
	"errors"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// CreateKey implements [provider.Provider]. [provider.ErrAuth] if the store was opened without a passphrase;
// [provider.ErrTampered] if the kid has only versions whose records can't be read.
func (s *Store) CreateKey(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
	spec, invalid := spec.Normalize()
	if err := s.enter(ctx, invalid); err != nil {
		return provider.KeyRef{}, err
	}
	if s.vault == nil {
		return provider.KeyRef{}, errLocked("create a key")
	}
	// Asked here too, so that no key is made in vain if it can be helped; the answer that counts is the one under the lock.
	if err := s.index.refresh(ctx); err != nil {
		return provider.KeyRef{}, err
	}
	if _, err := s.index.entry(spec.KID).version(spec.KID, 0); err == nil {
		return provider.KeyRef{}, provider.Exists(spec.KID, 0)
	}
	key, err := generate(ctx, spec)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer key.Symmetric.Wipe()
	return s.addFirst(ctx, spec, key, false)
}

// ImportKey implements [provider.Provider]. A public half alone needs no passphrase; otherwise errors as for CreateKey.
func (s *Store) ImportKey(ctx context.Context, spec provider.KeySpec, material provider.KeyMaterial) (provider.KeyRef, error) {
	bits := spec.Bits
	spec, invalid := spec.Normalize()
	if err := s.enter(ctx, invalid); err != nil {
		return provider.KeyRef{}, err
	}
	key, err := material.Parse(spec.Alg, bits)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer key.Symmetric.Wipe()
	if s.vault == nil && hasPrivate(key) {
		return provider.KeyRef{}, errLocked("import a private key")
	}
	spec.Bits = key.Bits
	return s.addFirst(ctx, spec, key, true)
}

// RotateKey implements [provider.Provider]. [provider.ErrAuth] if the store was opened without a passphrase.
func (s *Store) RotateKey(ctx context.Context, kid string, r provider.Rotation) (provider.KeyRef, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid)); err != nil {
		return provider.KeyRef{}, err
	}
	for {
		e, _, err := s.find(ctx, kid, 0)
		if err != nil {
			return provider.KeyRef{}, err
		}
		spec, _, err := s.successor(e, kid, r)
		if err != nil {
			return provider.KeyRef{}, err
		}
		ref, err := s.rotate(ctx, spec, r)
		if !errors.Is(err, errOutrun) {
			return ref, err
		}
	}
}

// errOutrun tells that another writer made a version meanwhile, after which the next one has another size.
var errOutrun = errors.New("outrun by another rotation")

func (s *Store) rotate(ctx context.Context, spec provider.KeySpec, r provider.Rotation) (provider.KeyRef, error) {
	key, err := generate(ctx, spec)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer key.Symmetric.Wipe()
	return s.change(ctx, spec.KID, func(c *change) (int, error) {
		next, windows, err := s.successor(c.entry, spec.KID, r)
		if err != nil {
			return 0, err
		}
		if next.Bits != spec.Bits {
			return 0, errOutrun
		}
		return c.add(next, key, windows, false)
	})
}

// successor returns what the version after the highest one is to be.
func (s *Store) successor(e *entry, kid string, r provider.Rotation) (provider.KeySpec, provider.Windows, error) {
	latest, err := e.version(kid, 0)
	if err != nil {
		return provider.KeySpec{}, provider.Windows{}, err
	}
	now := time.Now()
	spec, windows, err := r.Normalize(s.describe(latest, e.state(now, latest), now))
	switch {
	case err != nil:
		return spec, windows, err
	case latest.rec.Private == "":
		return spec, windows, provider.Unsupportedf("rotate %q: its private half is not here", kid)
	case s.vault == nil:
		return spec, windows, errLocked("rotate a key")
	}
	return spec, windows, nil
}

// addFirst makes the first version of a key that has none.
func (s *Store) addFirst(ctx context.Context, spec provider.KeySpec, key provider.ParsedMaterial, imported bool) (provider.KeyRef, error) {
	return s.change(ctx, spec.KID, func(c *change) (int, error) {
		if _, err := c.entry.version(spec.KID, 0); !errors.Is(err, provider.ErrNotFound) {
			return 0, taken(spec.KID, err)
		}
		return c.add(spec, key, provider.Windows{}, imported)
	})
}

// taken returns why a kid can't be given to a new key, whose highest version was looked for with the result err.
func taken(kid string, err error) error {
	if err == nil {
		return provider.Exists(kid, 0)
	}
	return err
}
