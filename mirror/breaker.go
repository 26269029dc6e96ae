package mirror

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the time between two probes of a store that is down.
const (
	minProbeInterval = time.Second
	maxProbeInterval = 30 * time.Second
)

// slowFailure is how long a failing call may take and still count as fast: calls to a store that fails fast cost nothing,
// calls to one that hangs block their callers.
const slowFailure = 100 * time.Millisecond

// breaker remembers whether a store answers. It counts only outages: an error that is an answer (not found, a wrong PIN,
// a damaged record) shows that the store is there.
//
// Invariants: outage is nil exactly while the store is taken to be there. steady is true only if the store answered since
// the last failure, so that an answer then changes nothing. tries grows with every failure and falls to 0 only when an
// operation of a caller was answered: a store that passes its probe and then fails again is probed less and less often.
type breaker struct {
	store   string // primary or secondary
	log     *slog.Logger
	probeAt func(time.Time) // asks for a probe at that time
	onUp    func()          // after the first answer, and after every recovery

	outage atomic.Pointer[outage]
	steady atomic.Bool

	mu    sync.Mutex // serialises changes
	met   bool       // the store has answered once
	back  time.Time  // when the last outage ended
	tries int
}

// outage is the time for which a store does not answer.
type outage struct {
	since time.Time
	err   error // the latest failure; wraps provider.ErrUnavailable
	slow  bool  // the latest failure took long
}

// down returns the outage's error while there is one.
func (b *breaker) down() error {
	if o := b.outage.Load(); o != nil {
		return o.err
	}
	return nil
}

// hanging is down for outages in which a call would block its caller.
func (b *breaker) hanging() error {
	if o := b.outage.Load(); o != nil && o.slow {
		return o.err
	}
	return nil
}

// answered notes that the store answered a caller's operation that was begun at start. An answer to what was begun before
// the outage only arrived late.
func (b *breaker) answered(start time.Time) {
	if b.steady.Load() {
		return
	}
	b.mu.Lock()
	late := b.lateLocked(start)
	up := !late && b.recoverLocked()
	if !late {
		b.tries = 0
		b.steady.Store(true)
	}
	b.mu.Unlock()
	if up {
		b.onUp()
	}
}

// passed notes that the store passed a probe that was begun at start.
func (b *breaker) passed(start time.Time) {
	b.mu.Lock()
	up := !b.lateLocked(start) && b.recoverLocked()
	b.mu.Unlock()
	if up {
		b.onUp()
	}
}

func (b *breaker) lateLocked(start time.Time) bool {
	o := b.outage.Load()
	return o != nil && start.Before(o.since)
}

// recoverLocked ends the outage. It tells whether that is news.
func (b *breaker) recoverLocked() (news bool) {
	o := b.outage.Swap(nil)
	if o != nil {
		b.back = time.Now()
		b.log.Info("store is back", "store", b.store, "after", b.back.Sub(o.since).Round(time.Millisecond))
	}
	news = o != nil || !b.met
	b.met = true
	return news
}

// failed notes that the store gave no answer to what was begun at start, and why. A failure that is the first one, or a
// probe's, asks for a probe. What was begun in an outage that has ended fails late, and says nothing of now.
func (b *breaker) failed(start time.Time, err error, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if start.Before(b.back) {
		return
	}
	now := time.Now()
	o := &outage{since: now, err: err, slow: now.Sub(start) >= slowFailure}
	before := b.outage.Load()
	if before != nil {
		o.since = before.since
	}
	b.outage.Store(o)
	b.steady.Store(false)
	if before == nil {
		b.log.Warn("store is down", "store", b.store, "cause", err)
	}
	if before == nil || probe {
		b.probeAt(now.Add(backoff(b.tries, maxProbeInterval)))
		b.tries++
	}
}

// suspect notes that a caller gave up waiting before the store's own limit: no proof of an outage, but a reason to look.
func (b *breaker) suspect() {
	if b.outage.Load() == nil {
		b.probeAt(time.Now())
	}
}

// backoff returns the time before attempt number tries+1: 1 s, growing by half up to most, and up to a quarter less at random, so
// that many processes do not come back at one moment.
func backoff(tries int, most time.Duration) time.Duration {
	d := minProbeInterval
	for ; tries > 0 && d < most; tries-- {
		d += d / 2
	}
	d = min(d, most)
	return max(minProbeInterval, d-rand.N(d/4))
}
