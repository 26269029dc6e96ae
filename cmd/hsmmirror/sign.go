package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// signFlags are the flags of sign.
type signFlags struct{ in, out, format, claims string }

func newSign(a *app) *cobra.Command {
	var flags signFlags
	cmd := &cobra.Command{
		Use:   "sign KID[.VERSION]",
		Short: "Sign a file, or make a JWS or JWT",
		Long: `Sign --in, or stdin, with the active version of a key or with the version that
is named. The algorithm of the key says how the input is hashed. The formats are
  raw  the signature as JWA has it; for ECDSA r and s at full length
  der  the signature as OpenSSL has it; for ECDSA in ASN.1, else the same as raw
  jws  a JWS in compact form, with the kid of the JWK in its header
  jwt  the same with claims as its payload; --claims alone says so too`,
		Example: `  hsmmirror sign payments --in release.tar.gz --out release.sig --format der
  hsmmirror sign payments --claims claims.json
  echo '{"sub":"alice"}' | hsmmirror sign payments --format jwt`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(a); err != nil {
				return err
			}
			input, err := flags.read(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				s, err := newSignatory(ctx, p, args[0])
				if err != nil {
					return err
				}
				output, err := s.make(ctx, flags.format, input)
				if err != nil {
					return err
				}
				a.noteSource(fmt.Sprintf("key %q", s.ref.JWKKID()), s.ref.Provenance)
				return a.writeOutput(flags.out, output, 0o644)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.in, "in", "", "`FILE` to sign; stdin if left out or -")
	f.StringVar(&flags.out, "out", "", "`FILE` to write; stdout if left out or -")
	f.StringVar(&flags.format, "format", formatRaw, "raw, der, jws or jwt")
	f.StringVar(&flags.claims, "claims", "", "`FILE` with the claims of a JWT, a JSON object")
	f.SortFlags = false
	complete(cmd, "format", formatRaw, formatDER, formatJWS, formatJWT)
	cmd.MarkFlagsMutuallyExclusive("in", "claims")
	cmd.PreRun = func(cmd *cobra.Command, _ []string) {
		if flags.claims != "" && !cmd.Flags().Changed("format") {
			flags.format = formatJWT
		}
	}
	return prints("the signature, as --format says", cmd)
}

func (f *signFlags) check(a *app) error {
	switch f.format {
	case formatRaw, formatDER:
		if f.claims == "" {
			return a.checkBinary(f.out)
		}
	case formatJWS:
	case formatJWT:
		return nil
	default:
		return usagef("", "format %q: want raw, der, jws or jwt", f.format)
	}
	if f.claims != "" {
		return usagef("", "--claims: want --format jwt with it")
	}
	return nil
}

// read returns what is to be signed.
func (f *signFlags) read(ctx context.Context, a *app) ([]byte, error) {
	path := f.in
	if f.claims != "" {
		path = f.claims
	}
	b, err := a.readInput(ctx, path, maxInput)
	if err != nil || f.format != formatJWT {
		return b, err
	}
	claims, _, err := parseClaims(b)
	return claims, err
}

// signatory signs with one version of a key.
type signatory struct {
	ref  provider.KeyRef
	sign func(ctx context.Context, message []byte) ([]byte, error) // in the form of provider.Signer
}

// signerOf returns the signer of the version that was named, or of the active one.
func signerOf(ctx context.Context, p provider.Provider, key named) (provider.Signer, error) {
	s, ok := p.(provider.Signing)
	if !ok {
		return nil, provider.Unsupportedf("sign with %q: the store does not sign", key.kid)
	}
	return s.Signer(ctx, key.kid, key.version)
}

// newSignatory returns the signatory of the version that name names, or of the active one.
func newSignatory(ctx context.Context, p provider.Provider, name string) (*signatory, error) {
	key, err := find(ctx, p, name)
	if err != nil {
		return nil, err
	}
	if key.ref.Alg.Class() == provider.Symmetric {
		mac, err := macOf(ctx, p, key.ref)
		if err != nil {
			return nil, err
		}
		return &signatory{key.ref, mac.Sum}, nil
	}
	signer, err := signerOf(ctx, p, key)
	if err != nil {
		return nil, err
	}
	ref := signer.KeyRef()
	return &signatory{ref, func(ctx context.Context, message []byte) ([]byte, error) {
		return signer.SignContext(ctx, ref.Alg.Digest(message), ref.Alg.SignerOpts())
	}}, nil
}

func macOf(ctx context.Context, p provider.Provider, ref provider.KeyRef) (provider.MAC, error) {
	s, ok := p.(provider.Authenticating)
	if !ok {
		return nil, provider.Unsupportedf("authenticate with %q: the store does not offer it", ref.JWKKID())
	}
	return s.MAC(ctx, ref.KID, ref.Version)
}

func (s *signatory) signRaw(ctx context.Context, message []byte) ([]byte, error) {
	signature, err := s.sign(ctx, message)
	if err != nil {
		return nil, err
	}
	return toRaw(s.ref.Alg, signature)
}

// make returns the signature of message, or the JWS with it, in the given format.
func (s *signatory) make(ctx context.Context, format string, message []byte) ([]byte, error) {
	switch format {
	case formatRaw:
		return s.signRaw(ctx, message)
	case formatDER:
		return s.sign(ctx, message)
	}
	typ := ""
	if format == formatJWT {
		typ = "JWT"
	}
	jws, err := makeJWS(ctx, s, typ, message)
	return append(jws, '\n'), err
}
