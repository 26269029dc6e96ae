package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// ownFormat is the annotation of commands whose output has a format of its own, with what that is.
const ownFormat = "hsmmirror_own_format"

// prints notes on a command that its output is what, whatever --output says. Who asks for another form on its command line is told;
// in the environment and the configuration file --output is for the commands that it is for.
func prints(what string, cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{ownFormat: what}
	cmd.Long = strings.TrimRight(cmd.Long, "\n") + "\n\n-o json and -o yaml do not apply: the output is " + what + "."
	return cmd
}

// checkFormat returns a usage error if --output was given to a command whose output has a format of its own.
func (o *options) checkFormat(cmd *cobra.Command) error {
	what := cmd.Annotations[ownFormat]
	if what == "" || !o.json() || !cmd.Flags().Changed("output") {
		return nil
	}
	return usagef("leave out -o "+o.output, "--output %s: %s knows no other form: its output is %s", o.output, cmd.CommandPath(), what)
}
