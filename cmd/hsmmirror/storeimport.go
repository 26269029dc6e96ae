package main

import (
	"bytes"
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/softfile"
)

func newStoreImport(a *app) *cobra.Command {
	var passphrase, in, original string
	cmd := &cobra.Command{
		Use:   "import [--in FILE [--set-passphrase-source SOURCE] | --original DIR]",
		Short: "Take in the keys of another keystore",
		Long: `Take in what hsmmirror store export wrote, from --in or from stdin; or with
--original the directory of the Python program swarmauri_keyprovider_file, in
which keys stands and in which nothing is changed. Kids and versions stay as
they are.

A keystore that is opened without --passphrase-source takes public halves
only. Nothing that stands in it is changed: what is there already, just so,
counts as taken, and a kid that means another key there is left out as a
whole. So an import that was cut short can be done again.

What is not taken is named on stderr, and the exit code is 3.`,
		Example: `  hsmmirror store import --store restored --in keys.jwks
  hsmmirror store import --store restored --original /var/lib/swarmauri`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.makes = true
			take, err := a.intake(cmd.Context(), in, passphrase, original)
			if err != nil {
				return err
			}
			return a.withKeystore(cmd.Context(), func(ctx context.Context, s *softfile.Store) error {
				report, err := take(ctx, s)
				a.noteLeft(report)
				if err != nil && len(report.Taken) == 0 {
					return err
				}
				return cmp.Or(a.printKeys(ctx, s, provider.KeyList{Keys: report.Taken}), err)
			})
		},
	}
	cmd.Flags().StringVar(&in, "in", "", "`FILE` with the set; stdin if left out or -")
	cmd.Flags().StringVar(&passphrase, "set-passphrase-source", "", "where the passphrase of an encrypted set comes from, `SOURCE`")
	cmd.Flags().StringVar(&original, "original", "", "`DIR` of the Python program's keystore")
	cmd.MarkFlagsMutuallyExclusive("in", "original")
	cmd.MarkFlagsMutuallyExclusive("set-passphrase-source", "original")
	return cmd
}

// intake returns what takes in the keys that the flags name. A set is read before the keystore is made.
func (a *app) intake(ctx context.Context, in, passphrase, original string) (func(context.Context, *softfile.Store) (softfile.Report, error), error) {
	if original != "" {
		return func(ctx context.Context, s *softfile.Store) (softfile.Report, error) {
			return s.ImportOriginal(ctx, original)
		}, nil
	}
	source, err := setPassphrase(ctx, passphrase, secretSource)
	if err != nil {
		return nil, err
	}
	set, err := a.readInput(ctx, in, maxInput)
	if err != nil {
		return nil, err
	}
	if source == nil && !bytes.HasPrefix(bytes.TrimSpace(set), []byte("{")) {
		return nil, usagef("name the source of its passphrase with --set-passphrase-source", "this is no JWK Set, or an encrypted one")
	}
	return func(ctx context.Context, s *softfile.Store) (softfile.Report, error) {
		defer clear(set)
		return s.ImportSet(ctx, set, source)
	}, nil
}
