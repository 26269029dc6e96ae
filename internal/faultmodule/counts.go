//go:build unix

package faultmodule

// Calls counts calls by the name of their function. Functions that were not called are not in it.
type Calls map[string]int

// Calls returns how often each function was called so far, with or without a fault.
func (m *Module) Calls() Calls {
	calls := Calls{}
	for name, i := range m.index {
		if n := m.control.functions[i].calls.Load(); n > 0 {
			calls[name] = int(n)
		}
	}
	return calls
}

// During returns the calls that come in while f runs, of whatever thread.
func (m *Module) During(f func()) Calls {
	before := m.Calls()
	f()
	calls := m.Calls()
	for name, n := range before {
		if calls[name] -= n; calls[name] == 0 {
			delete(calls, name)
		}
	}
	return calls
}

// Inside returns how many calls are under way, those that hang included.
func (m *Module) Inside() int { return int(m.control.inside.Load()) }

// MostInside returns how many calls were under way at most since the last ResetMost.
func (m *Module) MostInside() int { return int(m.control.mostInside.Load()) }

// Sessions returns how many sessions are open, on all tokens.
func (m *Module) Sessions() int { return int(m.control.sessions.Load()) }

// MostSessions returns how many sessions were open at most since the last ResetMost.
func (m *Module) MostSessions() int { return int(m.control.mostSessions.Load()) }

// ResetMost makes what is under way and open now the most so far.
func (m *Module) ResetMost() {
	m.control.mostInside.Store(m.control.inside.Load())
	m.control.mostSessions.Store(m.control.sessions.Load())
}

// FinalizedInside returns how often C_Finalize was called while another call was under way. Each would have crashed the process on
// other modules; this one keeps them apart.
func (m *Module) FinalizedInside() int { return int(m.control.finalizedInside.Load()) }
