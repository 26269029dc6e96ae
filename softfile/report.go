package softfile

import (
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Report says what became of each key when keys moved out of a store or into one.
type Report struct {
	// Taken describes the versions that moved. KeyRef.Private tells whether the private half is where they went.
	Taken []provider.KeyRef
	// Left is what did not move. A version can stand in both: with its private half, a use or a tag left behind.
	Left []Left
}

// Left is a version, a part of one or a file that did not move.
type Left struct {
	Name   string // such as "payments.1", "payments.1: private half" or "keys/payments/notes.txt"
	Reason error  // wraps one of package provider's errors
}

// String is for people.
func (l Left) String() string { return fmt.Sprintf("%s: %v", l.Name, l.Reason) }

func (r *Report) leave(name string, reason error) { r.Left = append(r.Left, Left{name, reason}) }

// leavePrivate notes that the private half of a version did not move, though the version did.
func (r *Report) leavePrivate(name string, reason error) { r.leave(name+": private half", reason) }
