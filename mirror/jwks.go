package mirror

import (
	"context"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// JWKS implements [provider.Provider]. Its set is the union of both stores: the primary wins, and of what only the
// secondary holds it has the orphans, if they are served.
func (m *Mirror) JWKS(ctx context.Context, prefix string) (provider.JWKSet, error) {
	if err := m.ready(ctx); err != nil {
		return provider.JWKSet{}, err
	}
	m.state.look(ctx, false)
	if set, ok := m.servedJWKS(ctx, prefix); ok {
		return set, nil
	}
	set, err := ask(ctx, m, func(ctx context.Context) (provider.JWKSet, error) { return m.primary.JWKS(ctx, prefix) })
	if err == nil {
		if prefix == "" {
			m.confirmSet(set)
		}
		return m.union(ctx, prefix, set), nil
	}
	w, err := m.instead(ctx, err)
	if err != nil {
		return provider.JWKSet{}, err
	}
	keys, source, err := w.jwks(ctx, prefix)
	if err != nil {
		return provider.JWKSet{}, err
	}
	set = provider.NewJWKSet(keys, m.setProvenance(w.why, keys))
	w.keepJWKS(prefix, set, source)
	return set, nil
}

// union returns the primary's set without what was destroyed through the mirror and the manifest's key, and with the orphans. The set that nothing
// is added to or taken from is returned as it is.
func (m *Mirror) union(ctx context.Context, prefix string, set provider.JWKSet) provider.JWKSet {
	keys := set.Keys()
	l := m.state.current()
	there := make(map[Version]bool, len(keys))
	alive := slices.DeleteFunc(keys, func(k provider.JWK) bool {
		v := nameOf(k.Ref())
		there[v] = true
		return v.KID == ManifestKID || l.destroyed(v.KID, v.Version)
	})
	orphans := m.orphanKeys(ctx, prefix, there)
	if len(orphans) == 0 && len(alive) == set.Len() {
		return set
	}
	p := set.Provenance
	if len(orphans) > 0 {
		refs := make([]provider.KeyRef, len(orphans))
		for i, k := range orphans {
			refs[i] = k.Ref()
		}
		p = m.merged(p, refs)
	}
	return provider.NewJWKSet(append(alive, orphans...), p)
}

// orphanKeys returns the published keys of the secondary that are not in there and that the primary no longer has. It
// returns none if the secondary fails.
func (m *Mirror) orphanKeys(ctx context.Context, prefix string, there map[Version]bool) []provider.JWK {
	if !m.cfg.servesOrphans() {
		return nil
	}
	w, err := m.look(ctx, noLonger)
	if err != nil {
		return nil
	}
	copied, _, err := m.copies.jwks(ctx, w.l, prefix)
	if err != nil {
		return nil
	}
	orphans := copied[:0]
	for _, k := range copied {
		ref := k.Ref()
		if there[nameOf(ref)] {
			continue
		}
		ref.Fingerprint = k.Thumbprint()
		k.State = w.state(ref)
		if !k.State.Published() || w.orphan(ctx, ref) != nil {
			continue
		}
		k.Provenance = m.provenance(w.why, nameOf(ref))
		orphans = append(orphans, k)
	}
	return orphans
}

// setProvenance returns that of a set from the secondary: as of the oldest confirmation of its keys; for an empty one, of
// the primary's last whole set.
func (m *Mirror) setProvenance(why absence, keys []provider.JWK) provider.Provenance {
	p := provider.Provenance{Source: provider.Secondary, Reason: why.err.Error(), Unauthenticated: m.cfg.Pin == ""}
	for i, k := range keys {
		if i == 0 || k.Provenance.AsOf.Before(p.AsOf) {
			p.AsOf = k.Provenance.AsOf
		}
	}
	if ns := m.stamps.published.Load(); ns != 0 && len(keys) == 0 {
		p.AsOf = time.Unix(0, ns).UTC()
	}
	return m.aged(p)
}
