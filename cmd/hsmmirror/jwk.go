package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

func newJWK(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "jwk KID[.VERSION]",
		Short: "Print the public JWK of a key",
		Long: `Print the public JWK (RFC 7517) of one version of a key. It is one line of JSON
whatever --output says.`,
		Example: `  hsmmirror jwk payments
  hsmmirror jwk payments.2`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				key, err := find(ctx, p, args[0])
				if err != nil {
					return err
				}
				k, err := p.PublicJWK(ctx, key.kid, key.ref.Version)
				if err != nil {
					return err
				}
				a.noteSource(fmt.Sprintf("key %q", k.JWKKID()), k.Provenance)
				return a.printJSON(k)
			})
		},
	}
}

func newJWKS(a *app) *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "jwks",
		Short: "Print the public keys as a JWK Set",
		Long: `Print the JWK Set (RFC 7517 section 5) of all published versions: pending,
active and retiring ones, in ascending order of kid and version. It is one line
of JSON whatever --output says. Symmetric keys are left out. If a key can't be
read, the exit code is 3 and stderr says which.`,
		Example: `  hsmmirror jwks > /var/www/.well-known/jwks.json
  hsmmirror jwks --prefix payments`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				set, err := p.JWKS(ctx, prefix)
				if err != nil {
					return err
				}
				a.noteSource("the set", set.Provenance)
				for _, k := range set.Keys() {
					a.noteSource(fmt.Sprintf("key %q", k.JWKKID()), k.Provenance)
				}
				if list, err := p.ListKeys(ctx); err == nil { // a set does not say what it lacks
					a.noteProblems(list.Problems)
				}
				return a.printJSON(set)
			})
		},
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys whose kid begins with this")
	return cmd
}
