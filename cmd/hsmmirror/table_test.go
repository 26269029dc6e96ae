package main

import (
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"
)

func TestTablesAlignByWhatATerminalShows(t *testing.T) {
	rows := [][]string{{"schlüssel", "1"}, {"鍵", "2"}, {"evil\x1b[2J", "3"}, {"", "4"}}
	require.Equal(t, ""+
		"LABEL          N\n"+
		"schlüssel      1\n"+
		"鍵             2\n"+
		"\"evil\\x1b[2J\"  3\n"+
		"-              4\n", formatTable([]string{"LABEL", "N"}, rows, 0))
}

func TestTablesFitTheTerminal(t *testing.T) {
	row := []string{strings.Repeat("a", 40), "short", strings.Repeat("b", 30)}
	for _, limit := range []int{30, 40, 80, 200} {
		for line := range strings.Lines(formatTable([]string{"A", "B", "C"}, [][]string{row}, limit)) {
			require.LessOrEqual(t, runewidth.StringWidth(strings.TrimSuffix(line, "\n")), limit)
		}
	}
	require.Contains(t, formatTable([]string{"A", "B", "C"}, [][]string{row}, 40), "short", "narrow columns are left whole")
	require.Contains(t, formatTable([]string{"A", "B", "C"}, [][]string{row}, 0), row[2], "a file gets everything")
}

func TestYAMLSaysWhatJSONSays(t *testing.T) {
	text, err := toYAML([]byte(`{"a":"yes","b":"0123","c":null,"d":[],"e":{"f":true},"g":"two\nlines","h":"\u202e","i":1.5}`))
	require.NoError(t, err)
	require.Equal(t, ""+
		"a: \"yes\"\nb: \"0123\"\nc: null\nd: []\ne:\n  f: true\ng: |-\n  two\n  lines\nh: \"\u202e\"\ni: 1.5\n", string(text))
	require.NotContains(t, string(escape(text, jsonEscape)), "\u202e")
}
