package hsm

import (
	"context"
	"iter"
	"time"
)

// State is where the connection of a Token stands.
type State int

const (
	// StateNew is a Token that has asked its module nothing yet. The first call connects.
	StateNew State = iota
	// StateUp is a connection on which every operation is tried.
	StateUp
	// StateRecovering is an attempt to connect under way. Operations wait for a first connection, and for a login that is made
	// anew on a token that is there; during an outage they fail at once.
	StateRecovering
	// StateDown is an outage between two attempts. Operations fail at once with [provider.ErrUnavailable].
	StateDown
	// StateWedged is a call into the module that has outlived its time limit. Operations fail at once with
	// [provider.ErrUnavailable]. The module can't be started afresh while a call is inside, so the connection waits for it to come
	// back, and recovers then. If it never does, only a new process helps.
	StateWedged
	// StateLockedOut is a token that refused the PIN, or that would lock at the next wrong one. Operations fail at once with
	// [provider.ErrAuth]. Nothing logs in until the PIN's source says another PIN.
	StateLockedOut
	// StateClosed is the end.
	StateClosed
)

var stateNames = [...]string{"new", "up", "recovering", "down", "wedged", "locked out", "closed"}

// String returns the state in words, such as "locked out".
func (s State) String() string { return stateNames[s] }

// Status is the state of a connection, since when, and why.
type Status struct {
	State State
	Since time.Time // when the state began; for an outage, when the connection was lost
	Cause error     // why the connection is not up; nil while it is, and before the first call
}

// Status returns how the connection stands, without a call.
func (t *Token) Status() Status {
	s, _ := t.link.status()
	return s
}

// Watch yields how the connection stands, and then each change, until ctx ends or the Token is closed. It never keeps the connection
// waiting: of several changes while the loop body runs, it yields the last one only.
//
//	for s := range token.Watch(ctx) {
//		log.Print(s.State)
//	}
func (t *Token) Watch(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for ctx.Err() == nil {
			s, changed := t.link.status()
			if !yield(s) || s.State == StateClosed {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}
