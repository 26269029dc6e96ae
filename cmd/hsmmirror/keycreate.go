package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// specFlags are the flags that describe a new key.
type specFlags struct {
	kid, alg, export, label string
	bits                    int
	uses, tags              []string
}

func (s *specFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.kid, "kid", "", "name of the key; random if left out")
	f.StringVar(&s.alg, "alg", "", "algorithm: "+join(provider.Algs()))
	f.IntVar(&s.bits, "bits", 0, "size of an RSA or HMAC key in bits")
	f.StringSliceVar(&s.uses, "use", nil, "what the key may be used for, such as sign,verify; all that the algorithm allows if left out")
	f.StringVar(&s.export, "export-policy", string(provider.ExportNone), "what may leave the store: none, public_only or secret_when_allowed")
	f.StringVar(&s.label, "label", "", "a note for people")
	f.StringArrayVar(&s.tags, "tag", nil, "a note for programs, `NAME=VALUE`; may be repeated")
	f.SortFlags = false
	complete(cmd, "alg", algNames()...)
	complete(cmd, "export-policy", "none", "public_only", "secret_when_allowed")
}

// errNoName means that a name was given, and is empty.
var errNoName = usagef("leave --kid out for a random name", "--kid: want a name")

// name takes the kid from the command's argument if there is one. An empty --kid, such as of a variable that is not set, is no name.
func (s *specFlags) name(cmd *cobra.Command, args []string) error {
	given := cmd.Flags().Changed("kid")
	switch {
	case given && s.kid == "":
		return errNoName
	case len(args) > 0 && given && args[0] != s.kid:
		return usagef("", "two names, %s and %s: want one", printable(args[0]), printable(s.kid))
	case len(args) > 0:
		s.kid = args[0]
	}
	return nil
}

// spec returns what the flags say, checked.
func (s *specFlags) spec() (provider.KeySpec, error) {
	if s.alg == "" {
		return provider.KeySpec{}, usagef("", "no algorithm: want --alg with one of %s", join(provider.Algs()))
	}
	tags, err := parseTags(s.tags)
	if err != nil {
		return provider.KeySpec{}, err
	}
	spec := provider.KeySpec{
		KID: s.kid, Alg: provider.KeyAlg(s.alg), Bits: s.bits, Export: provider.ExportPolicy(s.export), Label: s.label, Tags: tags,
	}
	for _, use := range s.uses {
		spec.Uses = append(spec.Uses, provider.KeyUse(use))
	}
	_, err = spec.Normalize()
	return spec, err
}

func parseTags(list []string) (map[string]string, error) {
	tags := map[string]string{}
	for _, tag := range list {
		name, value, ok := strings.Cut(tag, "=")
		if !ok {
			return nil, usagef("", "tag %q: want NAME=VALUE", tag)
		}
		tags[name] = value
	}
	return tags, nil
}

func newKeyCreate(a *app) *cobra.Command {
	var spec specFlags
	cmd := &cobra.Command{
		Use:   "create [KID] --alg ALG",
		Short: "Create a key in the store",
		Example: `  hsmmirror key create --kid payments --alg ECDSA_P256_SHA256
  hsmmirror key create --kid backup --alg RSA_OAEP_SHA256 --bits 4096 --label "backups, office" --tag team=infra`,
		Args: args(0, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := spec.name(cmd, args); err != nil {
				return err
			}
			spec, err := spec.spec()
			if err != nil {
				return err
			}
			a.makes = true
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				stop := a.progress(ctx, "the key is being made")
				ref, err := p.CreateKey(ctx, spec)
				stop()
				if err != nil {
					return err
				}
				return a.printWritten(ctx, p, ref)
			})
		},
	}
	spec.register(cmd)
	return cmd
}
