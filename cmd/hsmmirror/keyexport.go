package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/internal/pbes2"
	"github.com/hsmmirror/hsmmirror/provider"
)

// exportFlags are the flags of key export.
type exportFlags struct {
	out, passphraseSource string
}

func newKeyExport(a *app) *cobra.Command {
	var flags exportFlags
	cmd := &cobra.Command{
		Use:   "export KID[.VERSION] --out FILE",
		Short: "Write the private half of a key, if its policy allows",
		Long: `Write the private half of a key as PKCS #8 in PEM, or the bytes of a symmetric
key, if its export policy is secret_when_allowed and the store can hand it out.
The file is new and only its owner can read it. With --key-passphrase-source
a private half is encrypted (PBES2, as OpenSSL reads it), and may go to stdout.`,
		Example: `  hsmmirror key export backup --out backup.pem --key-passphrase-source prompt
  hsmmirror key export webhook --out webhook.key`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.passphraseSource == "" && (flags.out == "" || flags.out == "-") {
				return usagef("give --out FILE, or --key-passphrase-source to encrypt it", "a private key in plain text goes to a file of its own only")
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				return flags.export(ctx, a, p, args[0])
			})
		},
	}
	cmd.Flags().StringVar(&flags.out, "out", "", "`FILE` to make, mode 0600; it must not be there yet")
	cmd.Flags().StringVar(&flags.passphraseSource, "key-passphrase-source", "", "encrypt the private half, with the passphrase from `SOURCE`")
	return prints("the key", cmd)
}

func (f *exportFlags) export(ctx context.Context, a *app, p provider.Provider, name string) error {
	key, err := find(ctx, p, name)
	if err != nil {
		return err
	}
	store, ok := p.(provider.Exporting)
	if !ok {
		return fmt.Errorf("%w: the store hands out no private key", provider.ErrNotExportable)
	}
	secret, err := store.ExportKey(ctx, key.kid, key.ref.Version)
	if err != nil {
		return err
	}
	defer secret.Wipe()
	content, err := f.encode(ctx, key.ref, secret.Expose())
	if err != nil {
		return err
	}
	defer clear(content)
	return a.writeSecret(f.out, content)
}

// encode returns what the file will hold.
func (f *exportFlags) encode(ctx context.Context, ref provider.KeyRef, secret []byte) ([]byte, error) {
	switch {
	case f.passphraseSource == "" && ref.Alg.Class() == provider.Symmetric:
		return append([]byte{}, secret...), nil
	case f.passphraseSource == "":
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
	case ref.Alg.Class() == provider.Symmetric:
		return nil, usagef("hsmmirror store export --set-passphrase-source encrypts whole keystores", "%q is symmetric: PKCS #8 holds private keys only", ref.KID)
	}
	source, err := newSecretSource(ctx, "key-passphrase-source", f.passphraseSource, "passphrase of the exported key")
	if err != nil {
		return nil, err
	}
	passphrase, err := source(ctx)
	if err != nil {
		return nil, err
	}
	defer passphrase.Wipe()
	der, err := pbes2.Encrypt(secret, passphrase.Expose())
	if err != nil {
		return nil, fmt.Errorf("encrypt the private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), nil
}

// writeSecret makes a file that only its owner can read, or writes to stdout if path is empty or "-".
func (a *app) writeSecret(path string, content []byte) error {
	if path == "" || path == "-" {
		_, err := a.out.Write(content)
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usagef("", "%v", err)
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		err = errors.Join(err, os.Remove(path)) // no half of a key
	}
	return err
}
