package main

import (
	"io"
	"os"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// gap is what stands between two columns.
const gap = "  "

// printTable writes rows under a header, in columns. On a terminal that is too narrow the widest columns are cut; elsewhere nothing is.
func (a *app) printTable(header []string, rows [][]string) error {
	_, err := io.WriteString(a.out, formatTable(header, rows, a.width()))
	return err
}

// width returns how many columns the terminal has that stdout is; 0 if it is none.
func (a *app) width() int {
	f, ok := a.out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// formatTable returns the table in lines of at most limit cells; 0: of any length. An empty cell shows as a dash.
func formatTable(header []string, rows [][]string, limit int) string {
	table := make([][]string, 0, 1+len(rows))
	table = append(table, header)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = printable(cell); cell == "" {
				cells[i] = "-"
			}
		}
		table = append(table, cells)
	}
	widths := fit(naturalWidths(table), limit)
	var b strings.Builder
	for _, row := range table {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString(gap)
			}
			line.WriteString(runewidth.FillRight(runewidth.Truncate(cell, widths[i], "…"), widths[i]))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

func naturalWidths(table [][]string) []int {
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	return widths
}

// narrowest is the width below which no column is cut.
const narrowest = 8

// fit takes from the widest column, one cell at a time, until the line fits or nothing more can be taken.
func fit(widths []int, limit int) []int {
	total := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; limit > 0 && total > limit; total-- {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= narrowest {
			break
		}
		widths[widest]--
	}
	return widths
}

// formatFields returns fields in two columns behind an indent, those without a value left out.
func formatFields(indent string, fields []field) string {
	width := 0
	for _, f := range fields {
		if f.value != "" {
			width = max(width, runewidth.StringWidth(f.name))
		}
	}
	var b strings.Builder
	for _, f := range fields {
		if f.value != "" {
			b.WriteString(indent + runewidth.FillRight(f.name, width) + gap + printable(f.value) + "\n")
		}
	}
	return b.String()
}
