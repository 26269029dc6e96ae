package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

func newCert(a *app) *cobra.Command {
	self, store := newCertSelf(a), newCertStore(a)
	a.namesKeys(true, self, store)
	return group(&cobra.Command{
		Use:   "cert",
		Short: "Make and store certificates of keys",
	}, self, store)
}

func newCertSelf(a *app) *cobra.Command {
	var flags subjectFlags
	var validity time.Duration
	var ca bool
	cmd := &cobra.Command{
		Use:   "self KID[.VERSION] --subject DN",
		Short: "Make a self-signed certificate",
		Long: `Make a self-signed certificate (X.509) in PEM with the active version of a key or
with the version that is named. It is for authentication by TLS, or with --ca
for signing other certificates.`,
		Example: `  hsmmirror cert self web --subject CN=example.org --san example.org --valid-for 2160h --out web.crt
  hsmmirror cert self root --subject 'CN=Example Root,O=Example' --ca --out root.crt`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			template, err := flags.certificate(validity, ca)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				s, err := x509Signer(ctx, p, args[0], &template.SignatureAlgorithm)
				if err != nil {
					return err
				}
				der, err := x509.CreateCertificate(nil, template, template, s.Public(), s)
				if err != nil {
					return err
				}
				return a.writeOutput(flags.out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&validity, "valid-for", 90*24*time.Hour, "how long the certificate is valid from now on")
	cmd.Flags().BoolVar(&ca, "ca", false, "make it one that signs other certificates")
	return prints("a certificate in PEM", cmd)
}

// clockReserve is how long before now a certificate begins to be valid, for verifiers whose clocks are late.
const clockReserve = 5 * time.Minute

// certificate returns what the flags describe, without a key.
func (f *subjectFlags) certificate(validity time.Duration, ca bool) (*x509.Certificate, error) {
	if validity <= 0 {
		return nil, usagef("", "--valid-for %v: want a positive duration, such as 2160h", validity)
	}
	subject, err := parseDN(f.subject)
	if err != nil {
		return nil, err
	}
	names, err := parseNames(f.names)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: subject, NotBefore: now.Add(-clockReserve), NotAfter: now.Add(validity),
		DNSNames: names.dns, IPAddresses: names.ips, EmailAddresses: names.mails, URIs: names.uris,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if ca {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	}
	return c, nil
}

// storedJSON is the output of cert store.
type storedJSON struct {
	KID     string `json:"kid"`
	Version int    `json:"version"`
}

func newCertStore(a *app) *cobra.Command {
	var in string
	cmd := &cobra.Command{
		Use:   "store KID[.VERSION] [--in FILE]",
		Short: "Store a certificate on the token, beside its key",
		Long: `Store a certificate (X.509, in PEM or DER) on the token under the CKA_ID and label of
its key, where programs that use the token by PKCS#11 look for it. It must be
of that key.`,
		Example: `  hsmmirror cert store web --in web.crt`,
		Args:    args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.readInput(cmd.Context(), in, maxKeyFile)
			if err != nil {
				return err
			}
			if block, _ := pem.Decode(b); block != nil && block.Type == "CERTIFICATE" {
				b = block.Bytes
			}
			return a.withToken(cmd.Context(), func(ctx context.Context, t *hsm.Token) error {
				if err := a.checkPIN(ctx, t); err != nil {
					return err
				}
				key, err := find(ctx, t, args[0])
				if err != nil {
					return err
				}
				if err := t.StoreCertificate(ctx, key.kid, key.ref.Version, b); err != nil {
					return err
				}
				if a.options.json() {
					return a.printJSON(storedJSON{key.ref.KID, key.ref.Version})
				}
				_, err = fmt.Fprintf(a.out, "stored the certificate of %s\n", key.ref.JWKKID())
				return err
			})
		},
	}
	cmd.Flags().StringVar(&in, "in", "", "`FILE` with the certificate; stdin if left out or -")
	return cmd
}
