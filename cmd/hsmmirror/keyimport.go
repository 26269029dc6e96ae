package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// maxKeyFile is the most that is read of a file with a key.
const maxKeyFile = 64 << 10

func newKeyImport(a *app) *cobra.Command {
	var flags specFlags
	var in, passphraseSource string
	cmd := &cobra.Command{
		Use:   "import [KID] --alg ALG [--in FILE]",
		Short: "Import a private, public or symmetric key",
		Long: `Import a key from --in, or from stdin: a private key as PKCS #8, PKCS #1 or
SEC 1, or a public key as SubjectPublicKeyInfo, each in PEM or DER; PKCS #8 may
be encrypted; or a private or public JWK. For a symmetric algorithm the bytes
of the file are the key, or the k of a JWK.
A public key alone makes a key that verifies and encrypts only.`,
		Example: `  hsmmirror key import --kid payments --alg ECDSA_P256_SHA256 --in payments.pem
  hsmmirror key import --kid payments --alg ECDSA_P256_SHA256 --in sealed.pem --key-passphrase-source prompt
  openssl rand 32 | hsmmirror key import --kid webhook --alg HMAC_SHA256`,
		Args: args(0, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.name(cmd, args); err != nil {
				return err
			}
			spec, err := flags.spec()
			if err != nil {
				return err
			}
			b, err := a.readInput(cmd.Context(), in, maxKeyFile)
			defer clear(b)
			if err != nil {
				return err
			}
			material, err := keyMaterial(spec.Alg, b, unlocker(cmd.Context(), passphraseSource))
			defer material.Private.Wipe()
			if err != nil {
				return err
			}
			a.makes = true
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				stop := a.progress(ctx, "the key is being imported")
				ref, err := p.ImportKey(ctx, spec, material)
				stop()
				if err != nil {
					return err
				}
				return a.printWritten(ctx, p, ref)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&in, "in", "", "`FILE` with the key; stdin if left out or -")
	cmd.Flags().StringVar(&passphraseSource, "key-passphrase-source", "", "where the passphrase of an encrypted key comes from, as for the PIN")
	return cmd
}
