package hsm

import (
	"context"
	"encoding/hex"
	"errors"
	mrand "math/rand/v2"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// CreateKey makes a key on the token. Its private half is sensitive and can't be extracted unless the export policy is
// secret_when_allowed; what was made is read back, compared and proved before it counts.
func (t *Token) CreateKey(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
	if err := t.begin(ctx); err != nil {
		return provider.KeyRef{}, err
	}
	spec, err := spec.Normalize()
	if err != nil {
		return provider.KeyRef{}, err
	}
	return t.first(ctx, spec, record{}, t.generate)
}

// RotateKey makes the next version of a key on the token, also if another program has spoilt or destroyed the objects of the
// versions before it.
func (t *Token) RotateKey(ctx context.Context, kid string, r provider.Rotation) (provider.KeyRef, error) {
	if err := t.begin(ctx); err != nil {
		return provider.KeyRef{}, err
	}
	if err := provider.ValidateKID(kid); err != nil {
		return provider.KeyRef{}, err
	}
	return t.version(ctx, making{kid: kid, fill: t.generate, plan: func(k *key) (record, error) {
		latest, err := k.latest()
		if err != nil {
			return record{}, err
		}
		if latest.PublicOnly {
			return record{}, provider.Unsupportedf("rotate %q: it was imported without its private half", kid)
		}
		spec, windows, err := r.Normalize(latest.ref())
		if err != nil {
			return record{}, err
		}
		rec := newRecord(spec)
		rec.ActiveFrom = rec.Created.Add(windows.PublishBefore)
		rec.RetireAfter = wholeSeconds(windows.RetireAfter)
		return rec, t.canCreate(ctx, spec)
	}})
}

// making is the way to a new version of kid: plan says what it is, from what the token holds now; fill puts its objects on the
// token. first tells that it must be the only one.
type making struct {
	kid   string
	first bool
	plan  func(*key) (record, error)
	fill  func(context.Context, record) error
}

// first makes the first version of a key. more holds what the record says beyond the spec.
func (t *Token) first(ctx context.Context, spec provider.KeySpec, more record, fill func(context.Context, record) error) (provider.KeyRef, error) {
	return t.version(ctx, making{kid: spec.KID, first: true, fill: fill, plan: func(k *key) (record, error) {
		if err := k.vacant(); err != nil {
			return record{}, err
		}
		rec := newRecord(spec)
		rec.Imported, rec.PublicOnly = more.Imported, more.PublicOnly
		if rec.Imported {
			return rec, nil
		}
		return rec, t.canCreate(ctx, spec)
	}})
}

// vacant returns nil if the key has no version, also none that can't be served.
func (k *key) vacant() error {
	switch _, err := k.find(0); {
	case err == nil:
		return provider.Exists(k.kid, 0)
	case !errors.Is(err, provider.ErrNotFound):
		return err
	}
	return nil
}

// newRecord is the claim of a version that spec describes, active at once.
func newRecord(spec provider.KeySpec) record {
	created := now().Truncate(time.Second)
	return record{
		Format: recordFormat, Stage: claimed, KID: spec.KID, Alg: spec.Alg, Bits: spec.Bits, Uses: spec.Uses, Export: spec.Export,
		Label: spec.Label, Tags: spec.Tags, Created: created, ActiveFrom: created,
	}
}

// version makes a version. When another process claims the same number, or may be writing a record just now, it plans again.
func (t *Token) version(ctx context.Context, m making) (provider.KeyRef, error) {
	unlock, err := t.lock(ctx, m.kid)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer unlock()
	for try := 1; ; try++ {
		ref, err := t.tryVersion(ctx, m)
		if again := errors.Is(err, errClaimed) || errors.Is(err, errUnreadable); !again || try == claimTries {
			return ref, err
		}
		select {
		case <-time.After(mrand.N(time.Duration(try) * 20 * time.Millisecond)):
		case <-ctx.Done():
			return provider.KeyRef{}, ctx.Err()
		}
	}
}

// tryVersion claims a version, fills it, proves it and makes it live. Nothing stays on the token if it fails.
func (t *Token) tryVersion(ctx context.Context, m making) (provider.KeyRef, error) {
	k, err := t.tidied(ctx, m.kid)
	if err != nil {
		return provider.KeyRef{}, err
	}
	number, err := k.next()
	if err != nil {
		return provider.KeyRef{}, err
	}
	rec, err := m.plan(k)
	if err != nil {
		return provider.KeyRef{}, err
	}
	id, err := t.freeID(ctx)
	if err != nil {
		return provider.KeyRef{}, err
	}
	rec.Version, rec.ID = number, hex.EncodeToString(id)
	err = t.claim(ctx, rec, k, m.first)
	if err == nil {
		err = m.fill(ctx, rec)
	}
	if err == nil {
		err = t.finish(ctx, rec)
	}
	if err != nil {
		return provider.KeyRef{}, t.undo(ctx, rec, err)
	}
	return t.made(ctx, rec)
}
