package main

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/mail"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// subjectFlags are the flags that say whom a certificate is for.
type subjectFlags struct {
	subject string
	names   []string
	out     string
}

func (f *subjectFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.subject, "subject", "", "distinguished name, such as CN=example.org,O=Example; a comma in a value as \\,")
	cmd.Flags().StringSliceVar(&f.names, "san", nil, "another `NAME`: a DNS name, an IP or mail address, or a URI; may be repeated")
	cmd.Flags().StringVar(&f.out, "out", "", "`FILE` to write; stdout if left out or -")
	cmd.Flags().SortFlags = false
}

func newCSR(a *app) *cobra.Command {
	var flags subjectFlags
	cmd := &cobra.Command{
		Use:   "csr KID[.VERSION] --subject DN",
		Short: "Make a certificate signing request",
		Long: `Make a certificate signing request (PKCS #10) in PEM, signed with the active
version of a key or with the version that is named.`,
		Example: `  hsmmirror csr web --subject CN=example.org --san www.example.org --out web.csr`,
		Args:    args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var template x509.CertificateRequest
			var err error
			if template.Subject, err = parseDN(flags.subject); err != nil {
				return err
			}
			names, err := parseNames(flags.names)
			if err != nil {
				return err
			}
			template.DNSNames, template.IPAddresses, template.EmailAddresses, template.URIs = names.dns, names.ips, names.mails, names.uris
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				s, err := x509Signer(ctx, p, args[0], &template.SignatureAlgorithm)
				if err != nil {
					return err
				}
				der, err := x509.CreateCertificateRequest(nil, &template, s)
				if err != nil {
					return err
				}
				return a.writeOutput(flags.out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o644)
			})
		},
	}
	flags.register(cmd)
	return prints("a PKCS #10 request in PEM", cmd)
}

// x509Signer returns the signer of the key that name names, and sets the signature algorithm that goes with it.
func x509Signer(ctx context.Context, p provider.Provider, name string, alg *x509.SignatureAlgorithm) (provider.Signer, error) {
	key, err := find(ctx, p, name)
	if err != nil {
		return nil, err
	}
	if *alg, err = x509Algorithm(key.ref.Alg); err != nil {
		return nil, err
	}
	return signerOf(ctx, p, key)
}

// x509Algorithm returns the signature algorithm of X.509 for an algorithm of ours.
func x509Algorithm(alg provider.KeyAlg) (x509.SignatureAlgorithm, error) {
	if a, ok := map[provider.KeyAlg]x509.SignatureAlgorithm{
		provider.Ed25519: x509.PureEd25519, provider.RSAPSSSHA256: x509.SHA256WithRSAPSS, provider.RSAPKCS1SHA256: x509.SHA256WithRSA,
		provider.ECDSAP256SHA256: x509.ECDSAWithSHA256, provider.ECDSAP384SHA384: x509.ECDSAWithSHA384, provider.ECDSAP521SHA512: x509.ECDSAWithSHA512,
	}[alg]; ok {
		return a, nil
	}
	return 0, provider.Unsupportedf("X.509 with a %s key: it makes no signatures that others verify", alg)
}

// attributeOIDs are the attributes of distinguished names that parseDN knows (RFC 4519).
var attributeOIDs = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8}, "STREET": {2, 5, 4, 9},
	"O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11},
}

// parseDN reads a distinguished name as RFC 4514 writes it, with single-valued RDNs.
func parseDN(s string) (pkix.Name, error) {
	var name pkix.Name
	if strings.TrimSpace(s) == "" {
		return name, usagef("", "no subject: want --subject with a distinguished name, such as CN=example.org")
	}
	for _, part := range splitDN(s) {
		typ, value, ok := strings.Cut(part, "=")
		oid, known := attributeOIDs[strings.ToUpper(strings.TrimSpace(typ))]
		if value = strings.TrimSpace(value); !ok || !known || value == "" {
			return name, usagef("", "subject: want TYPE=VALUE with one of CN, O, OU, L, ST, C, STREET, SERIALNUMBER, separated by commas")
		}
		name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: oid, Value: value})
	}
	return name, nil
}

// splitDN splits at commas; one after a backslash is part of a value.
func splitDN(s string) []string {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == ',':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	return append(parts, b.String())
}

// altNames are the subject alternative names of a certificate.
type altNames struct {
	dns, mails []string
	ips        []net.IP
	uris       []*url.URL
}

func parseNames(list []string) (altNames, error) {
	var n altNames
	for _, s := range list {
		u, err := url.Parse(s)
		switch {
		case net.ParseIP(s) != nil:
			n.ips = append(n.ips, net.ParseIP(s))
		case err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != ""):
			n.uris = append(n.uris, u)
		case strings.Contains(s, "@"):
			if _, err := mail.ParseAddress(s); err != nil {
				return n, usagef("", "name %q: want a mail address", s)
			}
			n.mails = append(n.mails, s)
		case s == "" || strings.ContainsAny(s, " /\\:"):
			return n, usagef("", "name %q: want a DNS name, an IP or mail address, or a URI", s)
		default:
			n.dns = append(n.dns, s)
		}
	}
	return n, nil
}
