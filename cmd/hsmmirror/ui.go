package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"encoding/json"
)

// Rules of the output: results on stdout; everything for a person on stderr, one line each, beginning with
// "hsmmirror: error: ", "hsmmirror: warning: " or "hsmmirror: hint: ", lower case, no full stop.

// say writes one line for a person.
func (a *app) say(kind, text string) {
	fmt.Fprintf(a.err, "hsmmirror: %s: %s\n", kind, oneLine(text))
}

// oneLine joins the lines of an error of several parts, and quotes what a terminal would not print as it is.
func oneLine(s string) string { return printable(strings.ReplaceAll(s, "\n", "; ")) }

// printable returns s if it can be shown as it is, and else s in quotes with escapes. Text that a token gives goes through it:
// a label may hold what moves the cursor.
func printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// printJSON writes v as one line.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = a.out.Write(append(b, '\n'))
	return err
}

// printTable writes rows under a header, in columns.
func (a *app) printTable(header []string, rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = printable(cell); cell == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), " "))
	}
	return w.Flush()
}

// field is one line of a description.
type field struct{ name, value string }

// printFields writes fields in two columns, those without a value left out.
func (a *app) printFields(fields []field) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		if f.value != "" {
			fmt.Fprintf(w, "%s\t%s\n", f.name, printable(f.value))
		}
	}
	return w.Flush()
}
