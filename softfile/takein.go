package softfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// arrivals is what comes from outside for one kid.
type arrivals struct {
	kid      string
	stones   []tombstone // ascending
	versions []arrival
}

// arrival is one version with its key, which is checked.
type arrival struct {
	rec *record
	key provider.ParsedMaterial
}

// admit checks a version that is to be taken in. ref needs no size and no fingerprint: they are those of key. A store that
// was opened without a passphrase takes public halves only.
func (s *Store) admit(ref provider.KeyRef, key provider.ParsedMaterial, report *Report) (arrival, error) {
	if s.vault == nil && hasPrivate(key) {
		if key.Public == nil {
			return arrival{}, errLocked("store a secret key")
		}
		key.Private = nil
		report.leavePrivate(ref.JWKKID(), errLocked("store a private key"))
	}
	ref.Bits = key.Bits
	spec, err := ref.Spec().Normalize()
	if err := cmp.Or(provider.ValidateKID(ref.KID), err, validateReplica(ref)); err != nil {
		return arrival{}, err
	}
	if ref.Created.IsZero() {
		return arrival{}, provider.Invalidf("no time of creation")
	}
	if _, ref.Fingerprint, err = publicFor(key); err != nil {
		return arrival{}, err
	}
	rec, err := replicaRecord(ref, spec, key)
	return arrival{rec, key}, err
}

// takeIn stores what came for one kid. What stands there already, just so, counts as taken. If anything that came
// contradicts what stands there, nothing is stored: the versions of two keys must not meet under one kid.
//
// It returns an error only for what would befall the next kid too.
func (s *Store) takeIn(ctx context.Context, in arrivals, report *Report) error {
	slices.SortFunc(in.versions, func(a, b arrival) int { return cmp.Compare(a.rec.Version, b.rec.Version) })
	stored := len(in.versions) // those from here on are
	var left []Left
	err := s.alter(ctx, in.kid, func(c *change) error {
		if left = c.conflicts(in); len(left) > 0 {
			return nil
		}
		if err := c.takeStones(ctx, in.stones); err != nil {
			left = []Left{{in.kid, err}}
			return nil
		}
		// The highest one comes first, and after an error no other: else one could be published again that it has retired.
		for i, a := range slices.Backward(in.versions) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.put(a.rec, a.key); err != nil {
				left = []Left{{a.rec.jwkKID() + " and those before it", err}}
				return nil
			}
			stored = i
		}
		return nil
	})
	report.Left = append(report.Left, left...)
	s.reportTaken(in.versions[stored:], report)
	if errors.Is(err, provider.ErrTampered) {
		report.leave(in.kid, err)
		return nil
	}
	return err
}

func (s *Store) reportTaken(stored []arrival, report *Report) {
	now := time.Now()
	for _, a := range stored {
		e := s.index.entry(a.rec.KID)
		v, err := e.version(a.rec.KID, a.rec.Version)
		if err != nil { // destroyed by another process in this moment, or gone from the disk
			report.leave(a.rec.jwkKID(), err)
			continue
		}
		report.Taken = append(report.Taken, s.describe(v, e.state(now, v), now))
	}
}

// conflicts returns what keeps the arrivals of a kid from being stored; nothing if they all fit.
func (c *change) conflicts(in arrivals) (left []Left) {
	for _, a := range in.versions {
		if err := c.conflict(a, in.stones); err != nil {
			left = append(left, Left{a.rec.jwkKID(), err})
		}
	}
	for _, t := range in.stones {
		if v, err := c.entry.version(c.kid, t.Version); err == nil {
			left = append(left, Left{v.rec.jwkKID() + ": its end", fmt.Errorf("%w, and was destroyed where this comes from", provider.Exists(c.kid, t.Version))})
		}
	}
	if len(left) == 0 {
		return nil
	}
	first := left[0]
	for _, a := range in.versions {
		if name := a.rec.jwkKID(); !slices.ContainsFunc(left, func(l Left) bool { return l.Name == name }) {
			left = append(left, Left{name, fmt.Errorf("%w: nothing of %q is taken, because of %s", provider.ErrExists, c.kid, first.Name)})
		}
	}
	return left
}

// conflict returns ErrExists if something else than a stands in its place, and nil if nothing does or a itself.
func (c *change) conflict(a arrival, stones []tombstone) error {
	if slices.ContainsFunc(stones, func(t tombstone) bool { return t.Version == a.rec.Version }) {
		return provider.Invalidf("both a version and a destroyed one")
	}
	there, err := c.standing(a.rec)
	if err != nil || there == nil {
		return err
	}
	described := *there.rec
	described.Private = ""
	if !a.rec.equal(&described) {
		return fmt.Errorf("%w, as another key or with another description", provider.Exists(a.rec.KID, a.rec.Version))
	}
	if there.rec.Private == "" {
		return nil
	}
	tried := *a.rec
	kept, err := c.keepPrivate(there, &tried, a.key)
	kept.Symmetric.Wipe()
	return err
}

// takeStones adds tombstones to those of the key, so that no number is given again that was in use where they come from,
// and no version comes back that they retired.
func (c *change) takeStones(ctx context.Context, stones []tombstone) error {
	if len(stones) == 0 {
		return nil
	}
	var all []tombstone
	if c.entry != nil {
		all = slices.Clone(c.entry.tombstones)
	}
	known := len(all)
	for _, t := range stones {
		if !slices.ContainsFunc(all[:known], func(k tombstone) bool { return k.Version == t.Version }) {
			all = append(all, t)
		}
	}
	if len(all) == known {
		return c.confirm()
	}
	slices.SortFunc(all, func(a, b tombstone) int { return cmp.Compare(a.Version, b.Version) })
	data, err := encodeTombstones(c.kid, all)
	if err != nil {
		return err
	}
	if c.entry == nil {
		err = c.first(tombstoneFile, data)
	} else {
		err = c.dir.Replace(tombstonePath(c.kid), data)
	}
	c.stale = true
	if err != nil {
		return classify(err)
	}
	c.entry, err = c.store.index.reload(ctx, c.dir, c.kid, true)
	return err
}
