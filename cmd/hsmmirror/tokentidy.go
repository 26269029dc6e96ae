package main

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// tidiedJSON is an object that token tidy removed.
type tidiedJSON struct {
	Class   string `json:"class"`
	Label   string `json:"label"`
	ID      string `json:"id"`
	KID     string `json:"kid,omitempty"`
	Version int    `json:"version,omitempty"`
}

func newTokenTidy(a *app) *cobra.Command {
	var age time.Duration
	cmd := &cobra.Command{
		Use:   "tidy",
		Short: "Remove what operations that were cut off have left on a token",
		Long: `Remove what hsmmirror's own operations have left on a token when their process
was killed or their host died: keys that were never finished, the rest of
destroyed ones, and the nameless objects that SoftHSM2 keeps of them. Nobody
was ever told of such a key. hsmmirror token objects shows it as "half". Each
write to a key does the same for that key; objects of other tools stay.`,
		Example: `  hsmmirror token tidy --token demo
  hsmmirror token tidy --token demo --older-than 0s   # when nothing else is making keys`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withToken(cmd.Context(), func(ctx context.Context, t *hsm.Token) error {
				removed, err := t.Tidy(ctx, age)
				if perr := a.printTidied(removed); err == nil {
					err = perr
				}
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&age, "older-than", time.Hour, "spare keys whose making began later; less wants that nothing else is making keys on the token")
	return cmd
}

func (a *app) printTidied(removed []hsm.Object) error {
	objects, rows := make([]tidiedJSON, 0, len(removed)), make([][]string, 0, len(removed))
	for _, o := range removed {
		key := ""
		if o.KID != "" {
			key = provider.JWKKID(o.KID, o.Version)
		}
		objects = append(objects, tidiedJSON{o.Class, o.Label, hex.EncodeToString(o.ID), o.KID, o.Version})
		rows = append(rows, []string{className(o.Class), o.Label, shortID(o.ID), key})
	}
	if a.options.json() {
		return a.printJSON(objects)
	}
	return a.printTable([]string{"REMOVED", "LABEL", "ID", "KEY"}, rows)
}
