package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// verifyFlags are the flags of verify.
type verifyFlags struct{ in, sig, format, jwks string }

// statement is what a signature is about, and the signature.
type statement struct {
	kid       string // of the JWK that a JWS names; empty: none
	jwa       string // algorithm that a JWS names; empty: none
	message   []byte
	signature []byte
	raw       bool // the signature is in raw form, and not in that of a provider.Signer
	claims    jwt.Token
	claimsRaw []byte
}

func newVerify(a *app) *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [KID[.VERSION]]",
		Short: "Verify a signature, a JWS or a JWT",
		Long: `Verify the signature --sig of --in, or a JWS or JWT from --in or stdin. It takes
the public key alone, so it works from the mirror while the token is away, and
with --jwks from a file without any store. (Only an HMAC_SHA256 key, which has
no public half, is asked in its store.)
A KID alone stands for all its published versions; a JWS says by its own header
which of them signed. Of a JWT exp and nbf are checked too.`,
		Example: `  hsmmirror verify payments --in release.tar.gz --sig release.sig --format der
  hsmmirror verify --jwks jwks.json < token.jwt
  hsmmirror verify payments.2 --in message.jws -o json`,
		Args: args(0, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			s, err := flags.statement(cmd.Context(), a, name)
			if err != nil {
				return err
			}
			if flags.jwks != "" {
				keys, err := a.keysInFile(cmd.Context(), flags.jwks, name)
				if err != nil {
					return err
				}
				return a.verify(cmd.Context(), s, keys)
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				keys, err := keysInStore(ctx, p, name)
				if err != nil {
					return err
				}
				return a.verify(ctx, s, keys)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.in, "in", "", "`FILE` that was signed, or that holds the JWS or JWT; stdin if left out or -")
	f.StringVar(&flags.sig, "sig", "", "`FILE` with the signature")
	f.StringVar(&flags.format, "format", formatRaw, "form of --sig: raw or der")
	f.StringVar(&flags.jwks, "jwks", "", "`FILE` with a JWK Set to take the keys from, in place of a store")
	f.SortFlags = false
	complete(cmd, "format", formatRaw, formatDER)
	return cmd
}

// statement reads what is to be verified.
func (f *verifyFlags) statement(ctx context.Context, a *app, name string) (statement, error) {
	switch {
	case f.format != formatRaw && f.format != formatDER:
		return statement{}, usagef("", "format %q: want raw or der", f.format)
	case f.sig != "" && name == "":
		return statement{}, usagef("", "no key: want the KID of the key that made the signature")
	}
	in, err := a.readInput(ctx, f.in, maxInput)
	if err != nil {
		return statement{}, err
	}
	if f.sig == "" {
		return statementOfJWS(in)
	}
	sig, err := a.readInput(ctx, f.sig, maxKeyFile)
	return statement{message: in, signature: sig, raw: f.format == formatRaw}, err
}

func statementOfJWS(b []byte) (statement, error) {
	j, err := parseJWS(b)
	if err != nil {
		return statement{}, err
	}
	s := statement{kid: j.header.KID, jwa: j.header.Alg, message: j.signingInput, signature: j.signature, raw: true}
	if j.isJWT() {
		s.claimsRaw, s.claims, err = parseClaims(j.payload)
	}
	return s, err
}

// verify prints which of keys made the statement's signature. The first that verifies it is the answer.
func (a *app) verify(ctx context.Context, s statement, keys []verifyingKey) error {
	tried := 0
	for _, k := range keys {
		if s.kid != "" && s.kid != k.jwkKID || s.jwa != "" && s.jwa != k.ref.Alg.JWA() {
			continue
		}
		tried++
		a.noteSource(fmt.Sprintf("key %q", k.jwkKID), k.ref.Provenance)
		err := k.check(ctx, s)
		if errors.Is(err, provider.ErrInvalid) {
			continue
		}
		if err != nil {
			return err
		}
		if s.claims != nil {
			if err := jwt.Validate(s.claims); err != nil {
				return fmt.Errorf("the signature is good, but the token is not valid now: %w", err)
			}
		}
		return a.printVerified(k, s)
	}
	if tried == 0 {
		return fmt.Errorf("the signature was not checked: %w", noKeyFor(s))
	}
	return s.mismatch()
}

// mismatch says that no key made the signature, and if it looks like one in another form, how to say so. An ECDSA signature in DER is
// a sequence (0x30) of about the size of the raw form, which begins so once in 256 times.
func (s statement) mismatch() error {
	err := errors.New("the signature does not belong to this key and this content")
	der := len(s.signature) > 0 && s.signature[0] == 0x30
	switch {
	case s.jwa == "" && s.raw && der:
		return &hintedError{err, "if the signature is in the form of OpenSSL and X.509, say --format der"}
	case s.jwa == "" && !s.raw && !der:
		return &hintedError{err, "if the signature is in the form of JWS, say --format raw"}
	}
	return err
}

func noKeyFor(s statement) error {
	if s.kid == "" {
		return errors.New("none of these keys is for it")
	}
	return fmt.Errorf("it names key %s and algorithm %s, and none of these keys is that", printable(s.kid), printable(s.jwa))
}

// verificationJSON is the output of verify.
type verificationJSON struct {
	Verified   bool            `json:"verified"`
	KID        string          `json:"kid"`
	Version    int             `json:"version"`
	Alg        provider.KeyAlg `json:"alg"`
	Claims     jwt.Token       `json:"claims,omitempty"`
	Provenance *provenanceJSON `json:"provenance,omitempty"`
}

func (a *app) printVerified(k verifyingKey, s statement) error {
	if k.ref.State == provider.Retired {
		a.notes.add("warning", "key %q is retired: it is in no JWK Set any more", k.jwkKID)
	}
	if a.options.json() {
		v := verificationJSON{Verified: true, KID: k.ref.KID, Version: k.ref.Version, Alg: k.ref.Alg, Claims: s.claims}
		if k.ref.Provenance.Source != 0 {
			p := newProvenanceJSON(k.ref.Provenance)
			v.Provenance = &p
		}
		return a.printJSON(v)
	}
	_, err := fmt.Fprintf(a.out, "good signature of %s (%s)\n", printable(k.jwkKID), k.ref.Alg)
	if err == nil && s.claims != nil {
		_, err = fmt.Fprintf(a.out, "%s\n", s.claimsRaw)
	}
	return err
}
