package mirror

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// stampEvery is how exact the time of a confirmation that came with a read is.
const stampEvery = time.Second

// absence is why the secondary is asked in the primary's place.
type absence struct {
	err error // what the primary answered or did not
	// answered tells that the primary answered: it does not have the version. What the secondary has is an orphan.
	answered bool
}

// stamps remembers when the primary last confirmed each version, and its JWK Set as a whole, to this process. The zero
// value is ready.
type stamps struct {
	mu        sync.RWMutex
	versions  map[Version]time.Time
	published atomic.Int64 // Unix nanoseconds; 0: never
}

// confirm notes that the primary holds the versions now.
func (s *stamps) confirm(now time.Time, versions ...Version) {
	s.mu.RLock()
	fresh := true
	for _, v := range versions {
		fresh = fresh && now.Sub(s.versions[v]) < stampEvery
	}
	s.mu.RUnlock()
	if fresh {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions == nil {
		s.versions = map[Version]time.Time{}
	}
	for _, v := range versions {
		s.versions[v] = now.UTC()
	}
}

func (s *stamps) forget(v Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.versions, v)
}

func (s *stamps) of(v Version) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.versions[v]
}

// confirm notes that the primary holds the versions that refs describe. The next pass brings that into the manifest.
func (m *Mirror) confirm(refs ...provider.KeyRef) {
	now := time.Now()
	versions := make([]Version, 0, 8)
	for _, ref := range refs {
		if ref.Provenance.Source == provider.Primary {
			versions = append(versions, nameOf(ref))
		}
	}
	m.stamps.confirm(now, versions...)
}

// confirmSet is confirm for a JWK Set of all keys.
func (m *Mirror) confirmSet(set provider.JWKSet) {
	now := time.Now()
	if now.UnixNano()-m.stamps.published.Load() < int64(stampEvery) || set.Provenance.Source != provider.Primary {
		return
	}
	m.stamps.published.Store(now.UnixNano())
	refs := make([]provider.KeyRef, 0, set.Len())
	for _, k := range set.Keys() {
		refs = append(refs, k.Ref())
	}
	m.confirm(refs...)
}

// asOf returns when the primary last confirmed the version; zero if the mirror can't tell.
func (m *Mirror) asOf(v Version) time.Time {
	e, _ := m.state.current().get(v)
	if t := m.stamps.of(v); t.After(e.Confirmed) {
		return t
	}
	return e.Confirmed
}

// provenance returns that of an answer which the secondary gives about the versions. The oldest confirmation counts.
func (m *Mirror) provenance(why absence, versions ...Version) provider.Provenance {
	p := provider.Provenance{Source: provider.Secondary, Orphan: why.answered, Reason: why.err.Error(), Unauthenticated: m.cfg.Pin == ""}
	for i, v := range versions {
		if e, _ := m.state.current().get(v); len(versions) == 1 && !e.Missing.IsZero() {
			p.Orphan = true
		}
		if t := m.asOf(v); i == 0 || t.Before(p.AsOf) {
			p.AsOf = t
		}
	}
	return m.aged(p)
}

// aged fills in Stale. The zero AsOf, which stands for "can't tell", is longer ago than any limit.
func (m *Mirror) aged(p provider.Provenance) provider.Provenance {
	p.Stale = time.Since(p.AsOf) >= m.cfg.StaleAfter
	return p
}
