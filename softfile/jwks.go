package softfile

import (
	"context"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// maxSets is how many sets are kept, one for each prefix that was asked for.
const maxSets = 16

// cachedSet is a JWK Set that holds from one time until before another, as long as no entry changes.
type cachedSet struct {
	set         provider.JWKSet
	from, until time.Time // until is zero if no schedule brings a change
}

func (c cachedSet) holds(now time.Time) bool {
	return !now.Before(c.from) && (c.until.IsZero() || now.Before(c.until))
}

// JWKS implements [provider.Provider]. Records that can't be read are not in it.
func (s *Store) JWKS(ctx context.Context, prefix string) (provider.JWKSet, error) {
	if err := s.enter(ctx); err != nil {
		return provider.JWKSet{}, err
	}
	if err := s.index.refresh(ctx); err != nil {
		return provider.JWKSet{}, err
	}
	now := time.Now()
	c, ok := s.index.cached(prefix)
	if !ok || !c.holds(now) {
		var err error
		if c, err = s.makeSet(prefix, now); err != nil {
			return provider.JWKSet{}, err
		}
	}
	c.set.Provenance = provider.FromPrimary(now)
	return c.set, nil
}

func (s *Store) makeSet(prefix string, now time.Time) (cachedSet, error) {
	entries, _, generation := s.index.all(func(kid string) bool { return strings.HasPrefix(kid, prefix) })
	c := cachedSet{from: now}
	var keys []provider.JWK
	for _, e := range entries {
		var failed error
		e.states(now, func(v *version, state provider.State) {
			if v.public == nil || !state.Published() {
				return
			}
			k, err := s.publicJWK(v, state, now)
			if err != nil {
				failed = err
				return
			}
			keys = append(keys, k)
		})
		if failed != nil {
			return c, failed
		}
		if next := e.nextChange(now); !next.IsZero() && (c.until.IsZero() || next.Before(c.until)) {
			c.until = next
		}
	}
	c.set = provider.NewJWKSet(keys, provider.FromPrimary(now))
	s.index.keep(prefix, c, generation)
	return c, nil
}

func (x *index) cached(prefix string) (cachedSet, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c, ok := x.sets[prefix]
	return c, ok
}

// keep keeps a set that was made of the entries of a generation, if that is still the present one.
func (x *index) keep(prefix string, c cachedSet, generation uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if generation != x.generation {
		return
	}
	if x.sets == nil || len(x.sets) >= maxSets {
		x.sets = map[string]cachedSet{}
	}
	x.sets[prefix] = c
}
