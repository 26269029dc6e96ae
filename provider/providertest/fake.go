package providertest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Fake is a store in memory that can be unplugged, made to hang and told to refuse. It satisfies every optional interface
// of package provider and passes [Run]. It takes the time from package time, so that it works under testing/synctest.
//
// A Fake is one handle; [Fake.Reopen] makes another on the same keys. What is done to one handle (Unplug, Hang, Refuse,
// Forget…) is done to the store, and shows through every handle.
type Fake struct {
	store  *fakeStore
	closed chan struct{}
	once   sync.Once
}

var (
	_ provider.Provider       = (*Fake)(nil)
	_ provider.Signing        = (*Fake)(nil)
	_ provider.Decrypting     = (*Fake)(nil)
	_ provider.Encrypting     = (*Fake)(nil)
	_ provider.Authenticating = (*Fake)(nil)
	_ provider.KeyAgreement   = (*Fake)(nil)
	_ provider.Exporting      = (*Fake)(nil)
	_ provider.Replica        = (*Fake)(nil)
	_ provider.Labelling      = (*Fake)(nil)
	_ provider.Checking       = (*Fake)(nil)
	_ provider.Resolving      = (*Fake)(nil)
)

// NewFake returns an empty store. At the end of the test it reports every handle that was not closed and every call that
// has not returned. t may be nil, as in an Example, which is then not checked.
func NewFake(t testing.TB) *Fake {
	s := &fakeStore{keys: map[string]*fakeKey{}, faults: newFaults()}
	if t != nil {
		t.Cleanup(func() {
			for _, problem := range s.faults.leftOpen() {
				t.Errorf("fake: %s", problem)
			}
		})
	}
	return s.handle()
}

// Reopen returns another handle on the same keys, also if f is closed.
func (f *Fake) Reopen() *Fake { return f.store.handle() }

// Plain returns f without its optional interfaces: a store without [provider.Replica], which numbers versions by itself.
// To leave some in, embed them: struct{ provider.Provider; provider.Signing }{f, f}.
func (f *Fake) Plain() provider.Provider { return plain{f} }

// plain says in its Capabilities what it hides.
type plain struct{ provider.Provider }

func (p plain) Capabilities(ctx context.Context) (provider.Capabilities, error) {
	c, err := p.Provider.Capabilities(ctx)
	c.Features = nil
	for i := range c.Algs {
		c.Algs[i].Use = false
	}
	return c, err
}

// Close ends the handle: calls that hang and calls that come later return [provider.ErrClosed].
func (f *Fake) Close() error {
	f.once.Do(func() {
		close(f.closed)
		f.store.faults.handles(-1)
	})
	return f.store.faults.enterClose()
}

func (s *fakeStore) handle() *Fake {
	s.faults.handles(+1)
	return &Fake{store: s, closed: make(chan struct{})}
}

// call is the frame of every method: it counts the call, then lets the context, the handle, the arguments and the faults
// speak, in this order, and runs do with the store locked. args are the results of checking the arguments.
func call[T any](ctx context.Context, f *Fake, method string, do func(s *fakeStore) (T, error), args ...error) (T, error) {
	var none T
	faults := f.store.faults
	faults.begin(method)
	defer faults.end()
	if err := f.admit(ctx, method, args); err != nil {
		return none, fmt.Errorf("fake: %s: %w", method, err)
	}
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	v, err := do(f.store)
	if err != nil {
		return none, fmt.Errorf("fake: %s: %w", method, err)
	}
	return v, nil
}

func (f *Fake) admit(ctx context.Context, method string, args []error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-f.closed:
		return provider.ErrClosed
	default:
	}
	for _, err := range args {
		if err != nil {
			return err
		}
	}
	return f.store.faults.wait(ctx, method, f.closed)
}
