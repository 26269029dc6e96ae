package providertest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hsmmirror/hsmmirror/provider"
)

// methods are the names that the faults and the counters of a [Fake] know: the methods of the contract, then those of the
// objects that it hands out. Sign stands for SignContext too, Decrypt for DecryptContext and for that of an AEAD.
// Close can be counted and refused, and never hangs.
var methods = []string{
	"Capabilities", "CreateKey", "ImportKey", "RotateKey", "DestroyKey", "GetKey", "ListKeys", "ListVersions", "PublicJWK", "JWKS",
	"RandomBytes", "HKDF", "Signer", "Decrypter", "AEAD", "MAC", "ECDH", "ExportKey", "PutVersion", "Health", "KeyByURI",
	"Sign", "Decrypt", "Encrypt", "Sum", "Verify",
}

// faults is what a fake was told to do wrong, and what it saw. It has a lock of its own, which no call holds while it
// hangs.
type faults struct {
	mu        sync.Mutex
	unplugged bool
	refused   map[string]error
	hung      map[string]chan struct{} // closed by Release
	calls     map[string]int
	running   int
	open      int
}

func newFaults() *faults {
	return &faults{refused: map[string]error{}, hung: map[string]chan struct{}{}, calls: map[string]int{}}
}

// Unplug makes every method answer [provider.ErrUnavailable], those of objects that were handed out before too.
func (f *Fake) Unplug() { f.store.faults.plug(false) }

// Plug undoes Unplug. The keys are there again.
func (f *Fake) Plug() { f.store.faults.plug(true) }

// Hang makes the named methods, or all if none is named, block until their context ends, Release, or Close. A method
// without a context, such as Sign, blocks until Release or Close. It panics at a name that is no method.
func (f *Fake) Hang(methods ...string) {
	f.store.faults.each(methods, func(s *faults, m string) {
		if s.hung[m] == nil {
			s.hung[m] = make(chan struct{})
		}
	})
}

// Release ends Hang: calls that hang go on as if nothing had been.
func (f *Fake) Release() {
	f.store.faults.each(nil, func(s *faults, m string) {
		if s.hung[m] != nil {
			close(s.hung[m])
		}
		delete(s.hung, m)
	})
}

// Refuse makes the named methods, or all but Close if none is named, answer err, and nil makes them work again.
func (f *Fake) Refuse(err error, methods ...string) {
	f.store.faults.each(methods, func(s *faults, m string) { s.refused[m] = err })
}

// Calls returns how often the named methods, or all but Close if none is named, were called through any handle.
func (f *Fake) Calls(methods ...string) int {
	n := 0
	f.store.faults.each(methods, func(s *faults, m string) { n += s.calls[m] })
	return n
}

// ResetCalls sets all counters to zero.
func (f *Fake) ResetCalls() {
	f.store.faults.mu.Lock()
	defer f.store.faults.mu.Unlock()
	clear(f.store.faults.calls)
}

func (s *faults) plug(in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unplugged = !in
}

// each runs do, locked, for the given methods, or for all of them. A misspelt name would make a test that can't fail.
func (s *faults) each(names []string, do func(s *faults, method string)) {
	if len(names) == 0 {
		names = methods
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range names {
		if m != "Close" && !slices.Contains(methods, m) {
			panic(fmt.Sprintf("providertest: no method %q", m))
		}
		do(s, m)
	}
}

func (s *faults) begin(method string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
	s.running++
}

func (s *faults) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

func (s *faults) handles(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
}

func (s *faults) enterClose() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["Close"]++
	return s.refused["Close"]
}

// wait returns once method may go on, or with the fault's error.
func (s *faults) wait(ctx context.Context, method string, closed <-chan struct{}) error {
	for {
		hung, err := s.verdict(method)
		if hung == nil || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return provider.ErrClosed
		case <-hung:
		}
	}
}

func (s *faults) verdict(method string) (hung <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.hung[method]; c != nil {
		return c, nil
	}
	if s.unplugged {
		return nil, fmt.Errorf("%w: unplugged", provider.ErrUnavailable)
	}
	return nil, s.refused[method]
}

func (s *faults) leftOpen() (problems []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open > 0 {
		problems = append(problems, fmt.Sprintf("%d handles were not closed", s.open))
	}
	if s.running > 0 {
		problems = append(problems, fmt.Sprintf("%d calls have not returned", s.running))
	}
	return problems
}
