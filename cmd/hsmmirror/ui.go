package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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

// field is one line of a description.
type field struct{ name, value string }

// printFields writes fields in two columns, those without a value left out.
func (a *app) printFields(fields []field) error {
	_, err := io.WriteString(a.out, formatFields("", fields))
	return err
}
