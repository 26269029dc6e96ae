package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/hsmmirror/hsmmirror/provider"
)

// The formats of key show. text and json are those of --output.
const (
	formatPEM  = "pem"
	formatSPKI = "spki"
	formatJWK  = "jwk"
	formatSSH  = "ssh"
)

var publicFormats = []string{formatJWK, formatPEM, formatSPKI, formatSSH}

func newKeyShow(a *app) *cobra.Command {
	var format, out string
	cmd := &cobra.Command{
		Use:   "show KID[.VERSION]",
		Short: "Describe one version of a key, or print its public half",
		Long: `Describe one version of a key; with --format print its public half instead:
  jwk   the JWK, the same as hsmmirror jwk
  pem   SubjectPublicKeyInfo in PEM, as OpenSSL reads it
  spki  SubjectPublicKeyInfo in DER
  ssh   a line for authorized_keys`,
		Example: `  hsmmirror key show payments
  hsmmirror key show payments.2 -o json
  hsmmirror key show payments --format pem --out payments.pub.pem
  hsmmirror key show deploy --format ssh >> ~/.ssh/authorized_keys`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case format != "" && !slices.Contains(publicFormats, format):
				return usagef("", "format %q: want jwk, pem, spki or ssh", format)
			case format == "" && out != "":
				return usagef("", "--out: want --format too")
			case format != "" && cmd.Flags().Changed("output") && a.options.json():
				return usagef("leave out one of them", "--output %s with --format %s: want one of the two", a.options.output, format)
			case format == formatSPKI:
				if err := a.checkBinary(out); err != nil {
					return err
				}
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				key, err := find(ctx, p, args[0])
				if err != nil {
					return err
				}
				if format == "" {
					return a.printKey(ctx, p, key.ref)
				}
				k, err := p.PublicJWK(ctx, key.kid, key.ref.Version)
				if err != nil {
					return err
				}
				a.noteSource(fmt.Sprintf("key %q", k.JWKKID()), k.Provenance)
				b, err := publicHalfAs(format, k)
				if err != nil {
					return err
				}
				return a.writeOutput(out, b, 0o644)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "print the public half: jwk, pem, spki or ssh")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write the public half to; stdout if left out or -")
	complete(cmd, "format", publicFormats...)
	return cmd
}

// publicHalfAs writes a public key in one of the formats.
func publicHalfAs(format string, k provider.JWK) ([]byte, error) {
	switch format {
	case formatJWK:
		return append(k.JSON(), '\n'), nil
	case formatSSH:
		return sshLine(k)
	}
	der, err := spki(k.PublicKey())
	if err != nil || format == formatSPKI {
		return der, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func spki(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("SubjectPublicKeyInfo: %w", err)
	}
	return der, nil
}

func sshLine(k provider.JWK) ([]byte, error) {
	public, err := ssh.NewPublicKey(k.PublicKey())
	if err != nil {
		return nil, provider.Unsupportedf("public key of %q for SSH: SSH knows no %s keys", k.JWKKID(), k.Alg())
	}
	line := ssh.MarshalAuthorizedKey(public)
	return fmt.Appendf(line[:len(line)-1], " %s\n", k.JWKKID()), nil
}
