package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/softfile"
)

func newStore(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "store",
		Short: "Move whole keystores in and out",
		Long: `Move whole keystores in and out. These commands work with the keystore of
--store alone: a token that is named besides is not asked.`,
	}, newStoreExport(a), newStoreImport(a))
}

// withKeystore opens the keystore of --store, runs f with it and closes it.
func (a *app) withKeystore(ctx context.Context, f func(context.Context, *softfile.Store) error) error {
	if a.options.store == "" {
		return usagef("name its directory with --store", "no keystore was named")
	}
	if err := a.checkStore(a.options.store); err != nil {
		return err
	}
	s, err := a.openKeystore(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	return f(ctx, s)
}

// setPassphrase returns the source that --set-passphrase-source names, by secretSource or newSecretSource; nil if it names none.
func setPassphrase(ctx context.Context, spec string, ask func(ctx context.Context, flag, spec, what string) (provider.SecretSource, error)) (provider.SecretSource, error) {
	if spec == "" {
		return nil, nil
	}
	return ask(ctx, "set-passphrase-source", spec, "passphrase of the encrypted set")
}

// noteLeft takes notice of what did not move.
func (a *app) noteLeft(report softfile.Report) {
	for _, left := range report.Left {
		a.notes.degrade("left out: %v", left)
	}
}
