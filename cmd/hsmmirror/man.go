package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(a *app) *cobra.Command {
	return prints("for people", &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands into a directory",
		Long: `Write the manual pages of all commands, section 1, into a directory. They are
made from the same text as --help.`,
		Example: `  hsmmirror man /usr/local/share/man/man1`,
		Args:    args(1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return usagef("", "%v", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			date := time.Unix(0, 0) // pages of one version are the same whenever they are made
			header := &doc.GenManHeader{Section: "1", Source: "hsmmirror", Manual: "hsmmirror", Date: &date}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "the manual begins with hsmmirror(1): man -l %s/hsmmirror.1\n", printable(args[0]))
			return err
		},
	})
}
