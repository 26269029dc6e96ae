//go:build unix

package faultmodule

import (
	"fmt"
	"time"
)

// Plan says which calls a fault happens to. It takes effect with the method that names the fault.
type Plan struct {
	m           *Module
	functions   []int
	skip, times int
}

// On plans a fault of calls of the named functions, counted together; of all functions if none is named. It panics if there is no
// such function.
func (m *Module) On(functions ...string) Plan {
	p := Plan{m: m}
	for _, name := range functions {
		p.functions = append(p.functions, m.indexOf(name))
	}
	for i := range functionCount {
		if len(functions) == 0 {
			p.functions = append(p.functions, i)
		}
	}
	return p
}

func (m *Module) indexOf(name string) int {
	i, ok := m.index[name]
	if !ok {
		panic(fmt.Sprintf("faultmodule: no function %q in PKCS#11 v2.40", name))
	}
	return i
}

// After lets n calls pass first.
func (p Plan) After(n int) Plan { p.skip = n; return p }

// Times ends the fault after n calls. Without it the fault lasts until Stop.
func (p Plan) Times(n int) Plan { p.times = n; return p }

// Fail makes the calls answer with a CKR_ code. The real module does not see them.
func (p Plan) Fail(code uint) *Fault { return p.m.arm(p, kindFail, code, 0) }

// Lose lets the real module carry the calls out and loses its answer: they answer with a CKR_ code.
func (p Plan) Lose(code uint) *Fault { return p.m.arm(p, kindLose, code, 0) }

// Delay makes the calls take longer by d.
func (p Plan) Delay(d time.Duration) *Fault { return p.m.arm(p, kindDelay, 0, d) }

// Hang makes the calls wait, without end, before they reach the real module. Release lets them go on.
func (p Plan) Hang() *Fault { return p.m.arm(p, kindHang, 0, 0) }

// Crash makes the calls end their process with SIGABRT.
func (p Plan) Crash() *Fault { return p.m.arm(p, kindCrash, 0, 0) }

// Fault is a fault under way, or one that has ended.
type Fault struct {
	m     *Module
	i     int
	ended bool
	hits  int // once another fault has its place
}

func (m *Module) arm(p Plan, kind, code uint, delay time.Duration) *Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &Fault{m: m, i: m.freeLocked()}
	c := &m.control.faults[f.i]
	if last := m.faults[f.i]; last != nil {
		last.hits = int(c.hits.Load())
	}
	m.faults[f.i] = f
	c.kind.Store(uint64(kind))
	c.skip.Store(uint64(p.skip))
	c.times.Store(uint64(p.times))
	c.rv.Store(uint64(code))
	c.delay.Store(uint64(delay))
	c.released.Store(0)
	c.seen.Store(0)
	c.hits.Store(0)
	for _, i := range p.functions {
		m.control.functions[i].faults.Or(1 << f.i)
	}
	return f
}

// freeLocked returns a place that no fault under way has, and no thread looks at. It panics if there is none.
func (m *Module) freeLocked() int {
	for i, f := range m.faults {
		if (f == nil || f.ended) && m.control.faults[i].users.Load() == 0 {
			return i
		}
	}
	panic(fmt.Sprintf("faultmodule: more than %d faults at once", faultCount))
}

// disarmLocked ends the fault in a place, if there is one. Threads may still be about to leave it.
func (m *Module) disarmLocked(i int) {
	if m.faults[i] == nil || m.faults[i].ended {
		return
	}
	m.faults[i].ended = true
	for f := range m.control.functions {
		m.control.functions[f].faults.And(^(uint64(1) << i))
	}
	m.control.faults[i].released.Store(1)
}

// Hits returns how many calls the fault has happened to.
func (f *Fault) Hits() int {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.faults[f.i] != f {
		return f.hits
	}
	return int(f.m.control.faults[f.i].hits.Load())
}

// Waiting returns how many calls hang now.
func (f *Fault) Waiting() int {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.faults[f.i] != f {
		return 0
	}
	return int(f.m.control.faults[f.i].waiting.Load())
}

// Stop ends the fault. Calls that hang go on to the real module. Stopping again changes nothing.
func (f *Fault) Stop() { f.ReleaseWith(0) }

// Release is Stop, for a fault that makes calls hang.
func (f *Fault) Release() { f.Stop() }

// ReleaseWith is Release, but the calls that hang answer with a CKR_ code other than CKR_OK.
func (f *Fault) ReleaseWith(code uint) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.ended {
		return
	}
	if code != 0 {
		f.m.control.faults[f.i].rv.Store(uint64(code))
	}
	f.m.disarmLocked(f.i)
}
