package mirror

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// served keeps what the secondary was found good for during one outage, ready to be served. It holds for one outage and one
// ledger, until the next moment at which a schedule or an age changes the answers. Each answer is held against the
// secondary again after lookEvery.
type served struct {
	outage *outage
	ledger *ledger
	until  time.Time
	keys   sync.Map // Version, 0 for the highest → servedKey
	sets   sync.Map // prefix → servedSet
}

type servedKey struct {
	key     provider.JWK
	checked time.Time
}

type servedSet struct {
	set     provider.JWKSet
	source  []byte // the secondary's set that it was made from; nil: it was made from more than that
	checked time.Time
}

// servable returns what has been served in the outage that lasts; nil if there is none, or nothing may be served.
func (m *Mirror) servable(now time.Time) *served {
	o := m.up.outage.Load()
	if o == nil || !m.cfg.failsOver() || m.state.sound() != nil {
		return nil
	}
	l := m.state.current()
	if c := m.served.Load(); c != nil && c.outage == o && c.ledger == l && now.Before(c.until) {
		return c
	}
	c := &served{outage: o, ledger: l, until: m.nextChange(now, l)}
	m.served.Store(c)
	return c
}

// nextChange returns the first moment after now at which an answer may change by itself.
func (m *Mirror) nextChange(now time.Time, l *ledger) time.Time {
	next := now.Add(time.Hour)
	at := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	for v, e := range l.all() {
		at(e.ActiveFrom)
		at(e.ActiveFrom.Add(time.Duration(e.RetireAfter)))
		at(m.asOf(v).Add(m.cfg.StaleAfter))
	}
	if signed := m.state.signed.Load(); signed != nil {
		at(signed.expires)
		at(signed.issued.Add(m.cfg.RefuseAfter))
	}
	return next
}

// servedJWK returns a key that was served a moment ago.
func (m *Mirror) servedJWK(v Version) (provider.JWK, bool) {
	now := time.Now()
	c := m.servable(now)
	if c == nil {
		return provider.JWK{}, false
	}
	k, ok := c.keys.Load(v)
	if !ok || now.Sub(k.(servedKey).checked) >= lookEvery {
		return provider.JWK{}, false
	}
	return k.(servedKey).key, true
}

// keepJWK notes a key that w serves.
func (w view) keepJWK(v Version, k provider.JWK) {
	if c := w.m.servable(w.now); c != nil && c.ledger == w.l && !w.why.answered {
		c.keys.Store(v, servedKey{k, w.now})
	}
}

// servedJWKS returns a set that was served before and that the secondary's still makes.
func (m *Mirror) servedJWKS(ctx context.Context, prefix string) (provider.JWKSet, bool) {
	now := time.Now()
	c := m.servable(now)
	if c == nil {
		return provider.JWKSet{}, false
	}
	found, ok := c.sets.Load(prefix)
	if !ok {
		return provider.JWKSet{}, false
	}
	s := found.(servedSet)
	if now.Sub(s.checked) < lookEvery {
		return s.set, true
	}
	if s.source == nil {
		return provider.JWKSet{}, false
	}
	source, err := m.copies.set(ctx, c.ledger, prefix)
	if err != nil || !same(source, s.source) {
		return provider.JWKSet{}, false
	}
	s.checked = now
	c.sets.Store(prefix, s)
	return s.set, true
}

// keepJWKS notes a set that w serves, and what it was made from.
func (w view) keepJWKS(prefix string, set provider.JWKSet, source []byte) {
	if c := w.m.servable(w.now); c != nil && c.ledger == w.l && !w.why.answered {
		c.sets.Store(prefix, servedSet{set, source, w.now})
	}
}

// same tells whether the JSON of set is text, without copying it.
func same(set provider.JWKSet, text []byte) bool {
	c := comparer{text: text}
	_, err := set.WriteTo(&c)
	return err == nil && c.equal
}

type comparer struct {
	text  []byte
	equal bool
}

// Write implements io.Writer for one write of everything.
func (c *comparer) Write(p []byte) (int, error) {
	c.equal = bytes.Equal(p, c.text)
	return len(p), nil
}
