package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// rotateFlags are the flags of key rotate.
type rotateFlags struct {
	now                        bool
	publishBefore, retireAfter time.Duration
	bits                       int
	label                      string
	tags                       []string
}

func newKeyRotate(a *app) *cobra.Command {
	var flags rotateFlags
	cmd := &cobra.Command{
		Use:   "rotate KID",
		Short: "Make the next version of a key",
		Long: `Make the next version of a key. It is published at once and signs after
--publish-before; the version before it then stays published for
--retire-after, so that what it signed can still be verified.
With --now, for a key that was compromised, the new version signs at once and
the one before it is published no more.`,
		Example: `  hsmmirror key rotate payments
  hsmmirror key rotate payments --publish-before 1h --retire-after 48h
  hsmmirror key rotate payments --now`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			rotation, err := flags.rotation(cmd)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				stop := a.progress(ctx, "the key is being made")
				ref, err := p.RotateKey(ctx, args[0], rotation)
				stop()
				if err != nil {
					return err
				}
				return a.printWritten(ctx, p, ref)
			})
		},
	}
	w, f := provider.DefaultWindows(), cmd.Flags()
	f.BoolVar(&flags.now, "now", false, "sign with the new version at once and retire the one before")
	f.DurationVar(&flags.publishBefore, "publish-before", w.PublishBefore, "how long the new version is published before it signs")
	f.DurationVar(&flags.retireAfter, "retire-after", w.RetireAfter, "how long the version before stays published after that")
	f.IntVar(&flags.bits, "bits", 0, "size of the new version in bits; as before if left out")
	f.StringVar(&flags.label, "label", "", "a note for people; as before if left out")
	f.StringArrayVar(&flags.tags, "tag", nil, "a note for programs, `NAME=VALUE`; may be repeated; as before if left out")
	f.SortFlags = false
	cmd.MarkFlagsMutuallyExclusive("now", "publish-before")
	cmd.MarkFlagsMutuallyExclusive("now", "retire-after")
	return cmd
}

func (f *rotateFlags) rotation(cmd *cobra.Command) (provider.Rotation, error) {
	r := provider.Rotation{Bits: f.bits, Windows: &provider.Windows{PublishBefore: f.publishBefore, RetireAfter: f.retireAfter}}
	if f.now {
		r.Windows = &provider.Windows{}
	}
	if f.publishBefore < 0 || f.retireAfter < 0 {
		return r, usagef("", "--publish-before and --retire-after: want no negative duration")
	}
	if cmd.Flags().Changed("label") {
		r.Label = &f.label
	}
	if cmd.Flags().Changed("tag") {
		tags, err := parseTags(f.tags)
		if err != nil {
			return r, err
		}
		r.Tags = tags
	}
	return r, nil
}
