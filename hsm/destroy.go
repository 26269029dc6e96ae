package hsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// DestroyKey destroys one version, or all. A version that is cut off on its way is finished by the next write to the key: its
// tombstone is written first, and from then on it is not found. So another DestroyKey of what is not found may take its time, and fail.
func (t *Token) DestroyKey(ctx context.Context, kid string, n int) (provider.Destruction, error) {
	done := provider.Destruction{KID: kid}
	if err := t.begin(ctx); err != nil {
		return done, err
	}
	if err := provider.ValidateKID(kid); err != nil {
		return done, err
	}
	if n < 1 && n != provider.AllVersions {
		return done, provider.Invalidf("destroy version %d: want 1 or more, or AllVersions", n)
	}
	unlock, err := t.lock(ctx, kid)
	if err != nil {
		return done, err
	}
	defer unlock()
	k, err := t.tidied(ctx, kid) // a version whose destroy was cut off is not found below, and has to be gone by then
	if err != nil {
		return done, err
	}
	targets := k.targets(n)
	if len(targets) == 0 {
		_, err := k.find(max(n, 0))
		return done, err
	}
	for _, r := range targets {
		if err = t.destroyVersion(ctx, r); err != nil {
			break
		}
		done.Versions = append(done.Versions, r.Version)
	}
	return done, t.settle(ctx, kid, err)
}

// targets returns the records of what DestroyKey has to destroy: live versions, also those that can't be served because their
// objects are damaged.
func (k *key) targets(n int) []*located {
	var targets []*located
	for _, r := range slices.Concat(k.records, k.contested) { // with its tombstone there, tidy destroys the other keys of a contested one
		if r.Stage == live && (n == provider.AllVersions || n == r.Version) {
			targets = append(targets, r)
		}
	}
	slices.SortFunc(targets, func(a, b *located) int { return cmp.Compare(a.Version, b.Version) })
	return targets
}

// destroyVersion writes the tombstone, destroys the key objects and the live record.
func (t *Token) destroyVersion(ctx context.Context, r *located) error {
	tomb := record{
		Format: recordFormat, Stage: destroyed, KID: r.KID, Version: r.Version, ID: r.ID,
		Alg: r.Alg, Bits: r.Bits, Uses: r.Uses, Export: r.Export, Created: r.Created, ActiveFrom: r.ActiveFrom, RetireAfter: r.RetireAfter,
	}
	if err := t.write(ctx, tomb); err != nil {
		return err
	}
	if err := t.removeKeys(ctx, r.idBytes()); err != nil {
		return fmt.Errorf("destroy %q: %w", r.jwkKID(), t.restore(ctx, r, err))
	}
	err := t.link.destroy(ctx, r.object)
	if err == nil || errors.Is(err, errMoved) { // or tidy removes it
		return nil
	}
	return fmt.Errorf("destroy %q: %w", r.jwkKID(), err)
}

// restore takes the tombstone of a key back that the token refuses to destroy, so that it is not lost from sight. After an
// outage the tombstone stays: the key may be gone.
func (t *Token) restore(ctx context.Context, r *located, why error) error {
	if provider.IsOutage(why) {
		return why
	}
	objects, err := t.findRecords(ctx, r.KID)
	if err != nil {
		return why
	}
	records, _ := locate(objects)
	for _, tomb := range records {
		if tomb.Stage == destroyed && tomb.Version == r.Version && tomb.ID == r.ID {
			if err := t.link.destroy(ctx, tomb.object); err != nil {
				return fmt.Errorf("%w (and its tombstone stays: %v)", why, err)
			}
		}
	}
	return why
}

// settle reads the key anew after a destroy, and removes what nothing needs any more.
func (t *Token) settle(ctx context.Context, kid string, why error) error {
	ctx, cancel := t.afterwards(ctx)
	defer cancel()
	_, err := t.tidied(ctx, kid)
	if why != nil {
		return why
	}
	return err
}

// tidied reads the key anew, and tidies it.
func (t *Token) tidied(ctx context.Context, kid string) (*key, error) {
	return settled(t.cfg, func() (*key, error) {
		k, err := t.reload(ctx, kid)
		if err != nil {
			return nil, err
		}
		return t.tidy(ctx, k, claimDead)
	})
}

// tidy finishes the destroys that were cut off, takes back what was begun to be made age ago or earlier and never finished, and removes
// records that a further stage has overtaken and tombstones that nothing needs. It returns what then stands on the token.
func (t *Token) tidy(ctx context.Context, k *key, age time.Duration) (*key, error) {
	at := now()
	dead := k.dead(at, age)
	for _, r := range dead {
		if k.tombstoned(r) && r.Stage != destroyed || k.abandoned(r, at, age) {
			if err := t.removeKeys(ctx, r.idBytes()); err != nil {
				return k, err
			}
		}
		if err := t.link.destroy(ctx, r.object); err != nil {
			return k, err
		}
	}
	if len(dead) == 0 {
		return k, nil
	}
	return t.reload(ctx, k.kid)
}

// dead returns the records that tidy removes.
func (k *key) dead(at time.Time, age time.Duration) []*located {
	dead := slices.Clone(k.spare)
	for _, r := range k.records {
		if r.Stage == destroyed && !k.needs(r, at) || k.abandoned(r, at, age) {
			dead = append(dead, r)
		}
	}
	return dead
}

// abandoned tells whether r is the claim of a version that was begun at least age before at, and of which there is no more.
func (k *key) abandoned(r *located, at time.Time, age time.Duration) bool {
	same := func(s *located) bool { return s.Version == r.Version }
	return r.Stage == claimed && at.Sub(r.Created) >= age && slices.Contains(k.records, r) && !slices.ContainsFunc(k.contested, same)
}

// tombstoned tells whether the version of r is destroyed.
func (k *key) tombstoned(r *located) bool {
	return slices.ContainsFunc(k.records, func(s *located) bool { return s.Stage == destroyed && s.Version == r.Version })
}

// needs tells whether a tombstone has to stay: the highest one keeps its number taken, also beside a claim above it, which may be
// withdrawn; one that had become active keeps the live versions before it from coming back, also those that can't be served at
// the moment.
func (k *key) needs(tomb *located, at time.Time) bool {
	above := func(r *located) bool { return r.Stage != claimed && r.Version > tomb.Version }
	below := func(r *located) bool { return r.Stage == live && r.Version < tomb.Version }
	return !slices.ContainsFunc(k.records, above) || tomb.active(at) && slices.ContainsFunc(k.records, below)
}
