package mirror

import (
	"context"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// united is the union of two sets as it was made a moment ago. It holds for one ledger, for as long as neither set changes, and
// for stampEvery at most, so that the primary's confirmation of each key is no older than elsewhere.
type united struct {
	prefix             string
	ledger             *ledger
	primary, secondary []byte // the sets
	until              time.Time
	set                provider.JWKSet
	orphans            []provider.KeyRef
	same               bool // it is the primary's set
}

// union returns the primary's set without what was destroyed through the mirror and the manifest's key, and with the orphans.
// The set that nothing is added to or taken from is returned as it is.
func (m *Mirror) union(ctx context.Context, prefix string, set provider.JWKSet) provider.JWKSet {
	w, err := m.look(ctx, noLonger)
	var copied provider.JWKSet // stays empty if the secondary fails
	if err == nil && m.cfg.servesOrphans() {
		if there, err := m.copies.set(ctx, w.l, prefix); err == nil {
			copied = there
		}
	}
	u := m.united.Load()
	if u == nil || !u.holds(w, prefix, set, copied) {
		u = w.unite(ctx, prefix, set, copied)
		m.united.Store(u)
	}
	if u.same {
		return set
	}
	union := u.set
	union.Provenance = set.Provenance
	if len(u.orphans) > 0 {
		union.Provenance = m.merged(set.Provenance, u.orphans)
	}
	return union
}

// holds tells whether u is what unite would return.
func (u *united) holds(w view, prefix string, set, copied provider.JWKSet) bool {
	return u.ledger == w.l && u.prefix == prefix && w.now.Before(u.until) && same(set, u.primary) && same(copied, u.secondary)
}

// unite returns the union of the primary's set and the orphans in the secondary's.
func (w view) unite(ctx context.Context, prefix string, set, copied provider.JWKSet) *united {
	u := &united{prefix: prefix, ledger: w.l, primary: set.JSON(), secondary: copied.JSON(), until: w.m.nextChange(w.now, w.l)}
	if most := w.now.Add(stampEvery); u.until.After(most) {
		u.until = most
	}
	there := make(map[Version]bool, set.Len())
	alive := slices.DeleteFunc(set.Keys(), func(k provider.JWK) bool {
		v := nameOf(k.Ref())
		there[v] = true
		return v.KID == ManifestKID || w.l.destroyed(v.KID, v.Version)
	})
	orphans, sure := w.orphans(ctx, prefix, copied, there)
	if !sure {
		u.until = w.now
	}
	if len(orphans) == 0 && len(alive) == set.Len() {
		u.same = true
		return u
	}
	for _, k := range orphans {
		u.orphans = append(u.orphans, k.Ref())
	}
	u.set = provider.NewJWKSet(append(alive, orphans...), set.Provenance)
	return u
}

// orphans returns the published keys of the secondary's set that are not in there and that the primary no longer has. sure is
// false if the primary did not say so of each.
func (w view) orphans(ctx context.Context, prefix string, copied provider.JWKSet, there map[Version]bool) (orphans []provider.JWK, sure bool) {
	keys, err := w.l.renamed(copied, prefix)
	if err != nil {
		return nil, true
	}
	orphans, sure = keys[:0], true
	for _, k := range keys {
		ref := k.Ref()
		if there[nameOf(ref)] {
			continue
		}
		ref.Fingerprint = k.Thumbprint()
		if k.State = w.state(ref); !k.State.Published() {
			continue
		}
		if err := w.orphan(ctx, ref); err != nil {
			sure = sure && !unanswered(err)
			continue
		}
		k.Provenance = w.m.provenance(w.why, nameOf(ref))
		orphans = append(orphans, k)
	}
	return orphans, sure
}
