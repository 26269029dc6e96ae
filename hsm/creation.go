//go:build cgo

package hsm

import (
	"errors"
	"sync"
)

// creation is the making of an object by a call that may outlast whoever asked for it: they take back what they find when they leave, and
// the call takes back what it makes later.
type creation struct {
	mu            sync.Mutex
	running, left bool
}

// errAbandoned ends a call that would begin when nobody waits for it any more.
var errAbandoned = errors.New("abandoned")

// begin is called by the call before it makes the object. It returns false if nobody waits for it.
func (c *creation) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = !c.left
	return c.running
}

// end is called when the call has ended, and may begin again. It returns false if nobody waits for it: what it made must go.
func (c *creation) end() (wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	return !c.left
}

// leave is called by whoever asked, when they wait no longer. It returns true if no call is running, nor will.
func (c *creation) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	return !c.running
}
