package mirror

import (
	"context"
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
	var source []byte
	keys, w, err := afresh(ctx, w, func(w view) (keys []provider.JWK, err error) {
		keys, source, err = w.jwks(ctx, prefix)
		return keys, err
	})
	if err != nil {
		return provider.JWKSet{}, err
	}
	set = provider.NewJWKSet(keys, m.setProvenance(w.why, keys))
	w.keepJWKS(prefix, set, source)
	return set, nil
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
