package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// notes is what a command has to say besides its result or its error, in the order in which it came up.
type notes struct {
	lines    []note
	degraded bool
}

type note struct{ kind, text string }

func (n *notes) add(kind, format string, args ...any) {
	if line := (note{kind, fmt.Sprintf(format, args...)}); !slices.Contains(n.lines, line) {
		n.lines = append(n.lines, line)
	}
}

// degrade notes a warning that makes the exit code exitDegraded.
func (n *notes) degrade(format string, args ...any) {
	n.degraded = true
	n.add("warning", format, args...)
}

// report says the notes and returns the exit code.
func (a *app) report() int {
	a.sayNotes()
	if a.notes.degraded {
		return exitDegraded
	}
	return exitDone
}

func (a *app) sayNotes() {
	for _, n := range a.notes.lines {
		a.say(n.kind, n.text)
	}
}

// noteSource takes notice of where the answer about what came from.
func (a *app) noteSource(what string, p provider.Provenance) {
	if p.Source != provider.Secondary {
		return
	}
	if a.reads {
		if p.Stale {
			a.notes.degrade("the answer is stale: the token last confirmed it too long ago")
		}
		return
	}
	age := "of unknown age"
	if !p.AsOf.IsZero() {
		age = max(time.Since(p.AsOf), 0).Round(time.Second).String() + " old"
	}
	switch {
	case p.Orphan:
		a.notes.degrade("%s does not hold %s, and nobody destroyed it through the mirror; answered from the mirror, %s", a.primary, what, age)
	default:
		a.notes.degrade("%s is unavailable; answered from the mirror, %s", a.primary, age)
	}
	if p.Stale {
		a.notes.degrade("the answer is stale: the mirror was last confirmed too long ago")
	}
	if p.Unauthenticated {
		a.notes.add("hint", "nothing proves that the mirror's files are as the token left them; --manifest-pin does, see hsmmirror mirror pin")
	}
	if p.Reason != "" && !p.Orphan {
		a.notes.add("hint", "the reason is %s", cause(p.Reason))
	}
}

// noteMirroring takes notice of what became of a write on the mirror. A nil m says that there is none.
func (a *app) noteMirroring(what string, m *provider.Mirroring) {
	switch {
	case m == nil:
	case !m.Mirrored:
		a.notes.degrade("%s is not mirrored: %s", what, m.Reason)
	case m.Reason != "":
		a.notes.add("warning", "mirror of %s: %s", what, m.Reason)
	}
}

// noteProblems takes notice of what a store holds and can't read.
func (a *app) noteProblems(problems []error) {
	for _, err := range problems {
		a.notes.degrade("left out: %v", err)
	}
}
