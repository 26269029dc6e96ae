package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// Every command either prints JSON where it is asked to, which docs/json.md describes, or refuses to, before anything is touched.
func TestNoCommandIsSilentAboutOutput(t *testing.T) {
	refuse := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.Annotations[ownFormat] != "" {
			refuse[strings.TrimPrefix(cmd.CommandPath(), "hsmmirror ")] = true
		}
	}
	walk(newRoot(&app{streams: streams{out: io.Discard, err: io.Discard}}))
	require.Len(t, refuse, 10)
	for name := range refuse {
		for _, form := range []string{outputJSON, outputYAML} {
			var out, err bytes.Buffer
			args := append(strings.Fields(name), "-o", form)
			switch name {
			case "demo", "init", "store export", "mirror export":
			default:
				args = append(args, "1")
			}
			code := run(context.Background(), args, streams{strings.NewReader(""), &out, &err})
			require.Equal(t, exitUsage, code, name)
			require.Empty(t, out.String())
			require.Contains(t, err.String(), "hsmmirror: error: --output "+form+": hsmmirror "+name+" knows no other form: ")
		}
	}
}
