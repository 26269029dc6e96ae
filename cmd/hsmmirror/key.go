package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

func newKey(a *app) *cobra.Command {
	list, show, rotate, destroy := newKeyList(a), newKeyShow(a), newKeyRotate(a), newKeyDestroy(a)
	a.namesKeys(false, list, rotate)
	a.namesKeys(true, show, destroy)
	return group(&cobra.Command{
		Use:   "key",
		Short: "Create, list, rotate and destroy keys",
	}, newKeyCreate(a), newKeyImport(a), newKeyAdopt(a), list, show, rotate, destroy)
}

func newKeyList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list [KID]",
		Short: "List the latest version of every key, or all versions of one",
		Example: `  hsmmirror key list
  hsmmirror key list payments -o json`,
		Args: args(0, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				list, err := listKeys(ctx, p, args)
				if err != nil {
					return err
				}
				return a.printKeys(ctx, p, list)
			})
		},
	}
}

func listKeys(ctx context.Context, p provider.Provider, kid []string) (provider.KeyList, error) {
	if len(kid) == 0 {
		return p.ListKeys(ctx)
	}
	return p.ListVersions(ctx, kid[0])
}

func newKeyShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show KID[.VERSION]",
		Short: "Describe one version of a key",
		Example: `  hsmmirror key show payments
  hsmmirror key show payments.2 -o json`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				key, err := find(ctx, p, args[0])
				if err != nil {
					return err
				}
				return a.printKey(ctx, p, key.ref)
			})
		},
	}
}
