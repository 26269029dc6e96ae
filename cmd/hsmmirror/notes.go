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

	outage int       // 1 + index of the line that says that the mirror answered; 0: there is none
	asOf   time.Time // of the oldest answer that it is about
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
	if p.Orphan {
		a.notes.degrade("%s does not hold %s, and nobody destroyed it through the mirror; answered from the mirror, %s", a.primary, what, ageOf(p.AsOf))
	} else {
		a.noteOutage(p.AsOf)
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

// noteOutage says once that the mirror answered, and how old the oldest of its answers is.
func (a *app) noteOutage(asOf time.Time) {
	n := &a.notes
	n.degraded = true
	line := note{"warning", fmt.Sprintf("%s is unavailable; answered from the mirror, %s", a.primary, ageOf(asOf))}
	switch {
	case n.outage == 0:
		n.lines = append(n.lines, line)
		n.outage, n.asOf = len(n.lines), asOf
	case asOf.Before(n.asOf):
		n.lines[n.outage-1], n.asOf = line, asOf
	}
}

// ageOf says how long ago something was; the zero time is unknown.
func ageOf(t time.Time) string {
	if t.IsZero() {
		return "of unknown age"
	}
	return max(time.Since(t), 0).Round(time.Second).String() + " old"
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
