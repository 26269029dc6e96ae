package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// maxKeyFile is the most that is read of a file with a key.
const maxKeyFile = 64 << 10

func newKeyImport(a *app) *cobra.Command {
	var flags specFlags
	var in string
	cmd := &cobra.Command{
		Use:   "import --alg ALG [--kid KID] [--in FILE]",
		Short: "Import a private, public or symmetric key",
		Long: `Import a key from --in, or from stdin: a private key as PKCS #8, PKCS #1 or
SEC 1, or a public key as SubjectPublicKeyInfo, each in PEM or DER and not
encrypted. For a symmetric algorithm the bytes of the file are the key.
A public key alone makes a key that verifies and encrypts only.`,
		Example: `  hsmmirror key import --kid payments --alg ECDSA_P256_SHA256 --in payments.pem
  openssl rand 32 | hsmmirror key import --kid webhook --alg HMAC_SHA256`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec, err := flags.spec()
			if err != nil {
				return err
			}
			b, err := a.readInput(cmd.Context(), in, maxKeyFile)
			defer clear(b)
			if err != nil {
				return err
			}
			material, err := keyMaterial(spec.Alg, b)
			defer material.Private.Wipe()
			if err != nil {
				return err
			}
			a.makes = true
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				ref, err := p.ImportKey(ctx, spec, material)
				if err != nil {
					return err
				}
				return a.printWritten(ctx, p, ref)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&in, "in", "", "`FILE` with the key; stdin if left out or -")
	return cmd
}

// keyMaterial finds the key in the content of a file.
func keyMaterial(alg provider.KeyAlg, b []byte) (provider.KeyMaterial, error) {
	if alg.Class() == provider.Symmetric {
		return provider.KeyMaterial{Private: provider.NewSecret(b)}, nil
	}
	if block, _ := pem.Decode(b); block == nil {
		if _, err := x509.ParsePKIXPublicKey(b); err == nil {
			return provider.KeyMaterial{Public: bytes.Clone(b)}, nil
		}
		return provider.KeyMaterial{Private: provider.NewSecret(b)}, nil
	}
	return pemMaterial(b)
}

// pemMaterial takes the first private key of a PEM file, and else the first public key. Other blocks, such as the EC PARAMETERS
// that OpenSSL writes before a key, are passed over.
func pemMaterial(b []byte) (provider.KeyMaterial, error) {
	var public []byte
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		defer clear(block.Bytes)
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return provider.KeyMaterial{}, provider.Invalidf("the private key is encrypted: decrypt it first, for instance with openssl pkey")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return provider.KeyMaterial{Private: provider.NewSecret(block.Bytes)}, nil
		case block.Type == "PUBLIC KEY" && public == nil:
			public = bytes.Clone(block.Bytes)
		}
		b = rest
	}
	if public == nil {
		return provider.KeyMaterial{}, provider.Invalidf("no PRIVATE KEY and no PUBLIC KEY among the PEM blocks")
	}
	return provider.KeyMaterial{Public: public}, nil
}
