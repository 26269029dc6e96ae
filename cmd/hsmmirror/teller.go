package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// teller tells a story in numbered steps. Its lines are short and plain; colour comes on top where a terminal shows it.
type teller struct {
	w      io.Writer
	colour bool
	steps  int
}

// The colours, as ECMA-48 SGR parameters.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func newTeller(w io.Writer) *teller {
	f, ok := w.(*os.File)
	colour := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &teller{w: w, colour: colour}
}

// step begins a step.
func (t *teller) step(title string) {
	t.steps++
	fmt.Fprintf(t.w, "\n%2d  %s\n", t.steps, t.paint(bold, title))
}

// line says what happened.
func (t *teller) line(format string, args ...any) {
	fmt.Fprintf(t.w, "    %s\n", fmt.Sprintf(format, args...))
}

// held says what was checked and is so.
func (t *teller) held(format string, args ...any) {
	fmt.Fprintf(t.w, "    %s %s\n", t.paint(green, "ok"), fmt.Sprintf(format, args...))
}

// failed says what was checked and is not so.
func (t *teller) failed(err error) {
	fmt.Fprintf(t.w, "    %s %s\n", t.paint(red, "FAILED"), oneLine(err.Error()))
}

// see shows the command that shows the same.
func (t *teller) see(command string) {
	fmt.Fprintf(t.w, "    %s\n", t.paint(faint, "$ "+command))
}

func (t *teller) paint(colour, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
