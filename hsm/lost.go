//go:build cgo

package hsm

import (
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// refusalLocked is the error of every call while the connection is not up. It tells a token that was there and is lost from one that has
// not been seen yet: the cause alone would read as if it had been the answer to this call.
func (c *conn) refusalLocked() error {
	if c.member == nil || !c.state.State.outage() {
		return c.state.Cause
	}
	return &lostError{c.state.Since, c.state.Cause}
}

// lostError is the error of calls that are made while a connection is lost.
type lostError struct {
	since time.Time
	cause error
}

func (e *lostError) Error() string {
	return "connection lost at " + e.since.UTC().Format(time.RFC3339) + ": " + e.cause.Error()
}

func (e *lostError) Unwrap() []error { return []error{provider.ErrUnavailable, e.cause} }
