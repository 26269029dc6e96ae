//go:build cgo

package hsm

import "time"

// history is what has become of a connection so far.
type history struct {
	epochs, logins, refusals, recoveries uint64
	last, longest                        time.Duration // outages
	refused                              bool          // the last attempt was, and that was said
}

// recovered notes the end of an outage, and returns its length.
func (h *history) recovered(outage time.Duration) time.Duration {
	h.recoveries++
	h.last, h.longest = outage, max(h.longest, outage)
	return outage
}

func (c *conn) stats() Stats {
	var s Stats
	c.mu.Lock()
	h, m := c.history, c.member
	s.Status, s.Stuck = c.state, c.stuck
	c.mu.Unlock()
	s.Epochs, s.Logins, s.Refusals = h.epochs, h.logins, h.refusals
	s.Recoveries, s.LastRecovery, s.LongRecovery = h.recoveries, h.last, h.longest
	s.Waiting = int(c.waiting.Load())
	c.p11.fill(&s)
	if m == nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Sessions = cap(m.slots) - m.fewer
	s.InUse, s.Idle = len(m.slots)-m.fewer, len(m.idle)
	return s
}
