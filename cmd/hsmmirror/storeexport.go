package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/softfile"
)

func newStoreExport(a *app) *cobra.Command {
	var passphrase, out string
	cmd := &cobra.Command{
		Use:   "export [--set-passphrase-source SOURCE] [--out FILE]",
		Short: "Write all keys as a JWK Set, to bring them back from",
		Long: `Write all versions of all keys as one JWK Set (RFC 7517), the retired ones too.
It is made for hsmmirror store import, not for verifiers: hsmmirror jwks is.

Without --set-passphrase-source the set holds the public halves. With it, it
is encrypted under that passphrase, and holds the private and secret halves
whose export policy is secret_when_allowed too; the keystore has to be opened
with --passphrase-source then.

What is not in the set is named on stderr, and the exit code is 3.`,
		Example: `  hsmmirror store export --store /var/lib/hsmmirror --out keys.jwks
  hsmmirror store export --set-passphrase-source prompt --out keys.jwe`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withKeystore(cmd.Context(), func(ctx context.Context, s *softfile.Store) error {
				source, err := setPassphrase(ctx, passphrase, newSecretSource)
				if err != nil {
					return err
				}
				set, report, err := exportSet(ctx, s, source)
				a.noteLeft(report)
				if err != nil {
					return err
				}
				return a.writeOutput(out, append(set, '\n'), 0o600)
			})
		},
	}
	cmd.Flags().StringVar(&passphrase, "set-passphrase-source", "", "encrypt the set, with the passphrase from `SOURCE`")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write; stdout if left out or -")
	return prints("the set: a JWK Set, or a JWE", cmd)
}

func exportSet(ctx context.Context, s *softfile.Store, source provider.SecretSource) ([]byte, softfile.Report, error) {
	if source == nil {
		return s.ExportPublic(ctx)
	}
	return s.ExportEncrypted(ctx, source)
}
