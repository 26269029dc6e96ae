package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

func newKey(a *app) *cobra.Command {
	list, show, rotate, destroy := newKeyList(a), newKeyShow(a), newKeyRotate(a), newKeyDestroy(a)
	revoke, export, rename := newKeyRevoke(a), newKeyExport(a), newKeyRename(a)
	a.namesKeys(false, list, rotate)
	a.namesKeys(true, show, destroy, revoke, export, rename)
	return group(&cobra.Command{
		Use:   "key",
		Short: "Create, list, rotate and destroy keys",
	}, newKeyCreate(a), newKeyImport(a), newKeyAdopt(a), list, show, rename, rotate, revoke, destroy, export)
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
