package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// revocationJSON is the output of key revoke.
type revocationJSON struct {
	Successor *keyJSON        `json:"successor"` // null if the version was not the active one
	Destroyed destructionJSON `json:"destroyed"`
}

func newKeyRevoke(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "revoke KID[.VERSION]",
		Short: "Take a compromised version out of use at once, and destroy it",
		Long: `Take a version out of use at once, because its private half may be known to
someone: if it is the active one, the next version is made and signs at once;
then the version is destroyed, in the token and in its mirror. What was signed
with it does not verify any more. A KID alone stands for its active version.
It asks on the terminal before; --yes answers for scripts.`,
		Example: `  hsmmirror key revoke payments
  hsmmirror key revoke payments.3 --yes`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				ref, err := toRevoke(ctx, p, args[0])
				if err != nil {
					return err
				}
				if !yes {
					if err := a.confirm(ctx, fmt.Sprintf("revoke version %d of key %q, so that nothing that it signed verifies any more?", ref.Version, ref.KID)); err != nil {
						return err
					}
				}
				return a.revoke(ctx, p, ref)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// toRevoke returns the version that name names; of a KID alone the active one, and of a key without one the latest.
func toRevoke(ctx context.Context, p provider.Provider, name string) (provider.KeyRef, error) {
	n, err := find(ctx, p, name)
	if err != nil || n.version != 0 {
		return n.ref, err
	}
	list, err := p.ListVersions(ctx, n.kid)
	for _, ref := range list.Keys {
		if ref.State == provider.Active {
			return ref, nil
		}
	}
	return n.ref, err
}

// revoke makes the successor first: a failure leaves a key that works.
func (a *app) revoke(ctx context.Context, p provider.Provider, ref provider.KeyRef) error {
	var out revocationJSON
	if ref.State == provider.Active {
		stop := a.progress(ctx, "the successor is being made")
		next, err := p.RotateKey(ctx, ref.KID, provider.Rotation{Windows: &provider.Windows{}})
		stop()
		if err != nil {
			return fmt.Errorf("make the successor of %q: %w", ref.JWKKID(), err)
		}
		a.noteMirroring(fmt.Sprintf("key %q", next.JWKKID()), next.Mirroring)
		k := newKeyJSON(next, a.publicJWK(ctx, p, next))
		out.Successor = &k
	}
	d, err := p.DestroyKey(ctx, ref.KID, ref.Version)
	if err != nil {
		return fmt.Errorf("destroy %q, which signs no more: %w", ref.JWKKID(), err)
	}
	a.noteMirroring(fmt.Sprintf("the destruction of key %q", d.KID), d.Mirroring)
	out.Destroyed = destructionJSON{d.KID, d.Versions, newMirroringJSON(d.Mirroring)}
	if a.options.json() {
		return a.printJSON(out)
	}
	_, err = fmt.Fprintf(a.out, "revoked %s\n", ref.JWKKID())
	if err == nil && out.Successor != nil {
		_, err = fmt.Fprintf(a.out, "%s signs from now on\n", provider.JWKKID(out.Successor.KID, out.Successor.Version))
	}
	return err
}
