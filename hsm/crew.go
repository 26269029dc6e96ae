//go:build cgo

package hsm

import (
	"sync"
	"time"
)

// crew are the goroutines in which a connection calls its module, and the watch that calls back those who have waited too long for
// one. There are as many pilots as calls were ever under way at once; they stay for the next calls until the crew is dismissed.
type crew struct {
	flights sync.Pool // of *flight, none of them under way

	mu        sync.Mutex
	pilots    []*pilot
	idle      []*pilot // the last to come back takes off first: its memory is in the processor's cache
	dismissed bool

	// One timer watches all flights: it goes off when the first of those is due that were under way when it was set. Time limits
	// differ little, so a flight hardly ever has to set it.
	alarm *time.Timer
	due   time.Time // when it goes off; zero: not at all
	late  bool      // it went off late, and is to go off again
}

// grace is what flights get when the alarm goes off so much too late: then this process was stopped for a while, by a signal or with its
// container, and what it knows of the time says nothing about the token.
const grace = 20 * time.Millisecond

// pilot is a goroutine that takes one flight after the other.
type pilot struct {
	next   chan *flight // holds one, so that nobody waits for the pilot to be back from the last one
	flight *flight      // the one under way; nil once its caller was told that it is overdue. Guarded by crew.mu.
}

// flight returns one to be filled in and sent.
func (w *crew) flight() *flight {
	if fl, ok := w.flights.Get().(*flight); ok {
		return fl
	}
	return &flight{done: make(chan error, 1)}
}

// reuse takes a flight back whose result was received.
func (w *crew) reuse(fl *flight) {
	fl.ctx, fl.member, fl.call = nil, nil, nil
	fl.inside.Store(false)
	fl.stage.Store(flying)
	w.flights.Put(fl)
}

// send has a flight of c carried out.
func (w *crew) send(c *conn, fl *flight) {
	w.mu.Lock()
	var p *pilot
	if n := len(w.idle); n > 0 {
		p = w.idle[n-1]
		w.idle = w.idle[:n-1]
	} else {
		p = &pilot{next: make(chan *flight, 1)}
		w.pilots = append(w.pilots, p)
		go w.serve(c, p)
	}
	p.flight = fl
	if w.due.IsZero() || fl.ctx.until.Before(w.due) {
		w.setLocked(fl.ctx.until)
	}
	w.mu.Unlock()
	p.next <- fl
}

// serve carries flights out until the crew is dismissed.
func (w *crew) serve(c *conn, p *pilot) {
	for fl := range p.next {
		err := fl.carry(c)
		w.rest(p)
		if fl.stage.CompareAndSwap(flying, landed) {
			fl.done <- err // it is its caller's again
		} else {
			c.land(fl)
		}
	}
}

// rest makes a pilot idle, or ends it.
func (w *crew) rest(p *pilot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.flight = nil
	if w.dismissed {
		close(p.next)
		return
	}
	w.idle = append(w.idle, p)
}

// setLocked makes the alarm go off at the given time, or not at all.
func (w *crew) setLocked(due time.Time) {
	w.due = due
	switch {
	case due.IsZero():
		w.alarm.Stop()
	case w.alarm == nil:
		w.alarm = time.AfterFunc(time.Until(due), w.ring)
	default:
		w.alarm.Reset(time.Until(due))
	}
}

// ring tells the callers of all flights that are overdue.
func (w *crew) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, due := time.Now(), time.Time{}
	if w.late = !w.late && now.Sub(w.due) >= grace; w.late {
		w.alarm.Reset(grace)
		return
	}
	for _, p := range w.pilots {
		switch fl := p.flight; {
		case fl == nil:
		case fl.ctx.until.After(now):
			if due.IsZero() || fl.ctx.until.Before(due) {
				due = fl.ctx.until
			}
		default:
			p.flight = nil
			if fl.stage.CompareAndSwap(flying, left) {
				fl.done <- errOverdue
			}
		}
	}
	w.setLocked(due)
}

// dismiss ends the idle pilots, and each of the others after its flight.
func (w *crew) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.idle {
		close(p.next)
	}
	w.idle, w.dismissed = nil, true
}
