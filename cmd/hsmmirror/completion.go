package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/softfile"
)

// completionLimit is how long a shell may wait for a completion.
const completionLimit = 2 * time.Second

// completeKIDs makes the shell offer the kids of the keystore as a command's argument. The token is not asked: it would want its PIN.
func (a *app) completeKIDs(cmd *cobra.Command, versions bool) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionLimit)
		defer cancel()
		return a.kids(ctx, cmd, versions), cobra.ShellCompDirectiveNoFileComp
	}
}

// kids returns the kids of the keystore that the options name, with versions if wanted; none if there is none.
func (a *app) kids(ctx context.Context, cmd *cobra.Command, versions bool) []string {
	if a.options.fill(cmd.Root().PersistentFlags()) != nil || a.options.store == "" {
		return nil
	}
	if _, err := os.Stat(a.options.store); err != nil {
		return nil
	}
	store, err := softfile.Open(ctx, softfile.Config{Dir: a.options.store})
	if err != nil {
		return nil
	}
	defer store.Close()
	keys, _ := store.ListKeys(ctx) // an error leaves nothing to offer
	var names []string
	for _, latest := range keys.Keys {
		names = append(names, latest.KID+"\t"+string(latest.Alg))
		if !versions {
			continue
		}
		all, _ := store.ListVersions(ctx, latest.KID)
		for _, ref := range all.Keys {
			names = append(names, ref.JWKKID()+"\t"+string(ref.State))
		}
	}
	return names
}

// completeTokens makes the shell offer the labels and serial numbers of the tokens that are there.
func (a *app) completeTokens(root *cobra.Command) {
	offer := func(word func(seenSlot) string) cobra.CompletionFunc {
		return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			ctx, cancel := context.WithTimeout(context.Background(), completionLimit)
			defer cancel()
			if err := a.options.fill(cmd.Root().PersistentFlags()); err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			a.options.token, a.options.serial = "", "" // all are wanted
			slots, _ := a.chosen(ctx)                  // an error leaves nothing to offer
			var words []string
			for _, s := range slots {
				if w := word(s); w != "" && s.slot.Token.Initialized {
					words = append(words, w+"\t"+s.slot.Token.Model)
				}
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		}
	}
	err := errors.Join(
		root.RegisterFlagCompletionFunc("token", offer(func(s seenSlot) string { return s.slot.Token.Label })),
		root.RegisterFlagCompletionFunc("serial", offer(func(s seenSlot) string { return s.slot.Token.Serial })),
	)
	if err != nil {
		panic(err) // a flag does not exist: an error of the program
	}
}

// namesKeys are the commands whose argument is a key.
func (a *app) namesKeys(versions bool, commands ...*cobra.Command) {
	for _, cmd := range commands {
		a.completeKIDs(cmd, versions)
	}
}
