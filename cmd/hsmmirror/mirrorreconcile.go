package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/mirror"
)

// reportJSON is the output of mirror reconcile. docs/json.md describes the members.
type reportJSON struct {
	Versions   int          `json:"versions"`
	Copied     []string     `json:"copied"`
	Finished   []string     `json:"finished"`
	Unmirrored []versionWhy `json:"unmirrored"`
	Orphans    []string     `json:"orphans"`
	Conflicts  []string     `json:"conflicts"`
	Problems   []string     `json:"problems"`
}

func newMirrorReconcile(a *app) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Repair what differs between the token and its mirror",
		Long: `Copy what the keystore lacks, finish destroys that were cut off, have the token
sign a new manifest, and report the rest: orphans, and keys that were replaced
under their name. Nothing is deleted because the token does not show it. With
--dry-run it says what it would do, as hsmmirror mirror diff does.`,
		Example: `  hsmmirror mirror reconcile --dry-run
  hsmmirror mirror reconcile`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun {
				drift, err := a.drift(cmd.Context())
				if err != nil {
					return err
				}
				return a.printDrift(drift)
			}
			return a.withMirror(cmd.Context(), func(ctx context.Context, m *mirror.Mirror) error {
				stop := a.progress(ctx, "the stores are being compared")
				report, err := m.Reconcile(ctx)
				stop()
				if err != nil {
					return err
				}
				return a.printReport(report)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and change nothing")
	return cmd
}

func (a *app) printReport(r mirror.Report) error {
	j := reportJSON{
		r.Versions, versionNames(r.Copied), versionNames(r.Finished), []versionWhy{}, versionNames(r.Orphans), []string{}, []string{},
	}
	for _, u := range r.Unmirrored {
		j.Unmirrored = append(j.Unmirrored, versionWhy{u.Version.String(), u.Reason})
		a.notes.degrade("%s is not mirrored: %s", u.Version, u.Reason)
	}
	for _, o := range r.Orphans {
		a.notes.degrade("%s is an orphan: the token does not hold it, and nobody destroyed it through the mirror", o)
	}
	for _, c := range r.Conflicts {
		j.Conflicts = append(j.Conflicts, c.Version.String())
		a.notes.degrade("%s was replaced: two keys have its name", c.Version)
	}
	for _, problem := range r.Problems {
		j.Problems = append(j.Problems, problem.Error())
		a.notes.degrade("left out: %v", problem)
	}
	if a.options.json() {
		return a.printJSON(j)
	}
	text := plural(j.Versions, "version") + " compared"
	if len(j.Copied) > 0 {
		text += "; copied " + strings.Join(j.Copied, " ")
	}
	if len(j.Finished) > 0 {
		text += "; finished the destruction of " + strings.Join(j.Finished, " ")
	}
	_, err := fmt.Fprintln(a.out, text)
	return err
}
