package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// errNotConfirmed means that the person did not say yes.
var errNotConfirmed = errors.New("not confirmed; nothing was destroyed")

func newKeyDestroy(a *app) *cobra.Command {
	var yes, all, force bool
	cmd := &cobra.Command{
		Use:   "destroy KID.VERSION | KID --all-versions",
		Short: "Destroy one version of a key, or the whole key, for good",
		Long: `Destroy one version of a key, or with --all-versions every version, for good:
in the token, and in its mirror. It asks on the terminal before; --yes answers
for scripts. A KID alone is refused, because its latest version may have
changed since you looked; so is, without --force, the version that signs: it
would leave verifiers without a key.`,
		Example: `  hsmmirror key destroy payments.1
  hsmmirror key destroy payments --all-versions --yes`,
		Args: args(1, "KID.VERSION, or KID with --all-versions"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				kid, version, err := toDestroy(ctx, p, args[0], all)
				if err != nil {
					return err
				}
				if err := leavesAKey(ctx, p, kid, version); err != nil && !force {
					return err
				}
				if !yes {
					if err := a.confirm(ctx, question(kid, version)); err != nil {
						return err
					}
				}
				d, err := p.DestroyKey(ctx, kid, version)
				if err != nil {
					return err
				}
				return a.printDestroyed(d)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all-versions", false, "destroy every version of the key")
	cmd.Flags().BoolVar(&force, "force", false, "destroy the version that signs, too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// toDestroy returns what name names. With all, name is a kid and nothing else. A version that is too damaged to be looked at can be
// destroyed nevertheless.
func toDestroy(ctx context.Context, p provider.Provider, name string, all bool) (kid string, version int, err error) {
	if all {
		n, err := findKID(ctx, p, name)
		if errors.Is(err, provider.ErrTampered) {
			err = nil
		}
		return n.kid, provider.AllVersions, err
	}
	n, err := find(ctx, p, name)
	if kid, version, ok := provider.SplitJWKKID(name); ok && errors.Is(err, provider.ErrTampered) {
		return kid, version, nil
	}
	if err == nil && n.version == 0 {
		err = usagef(fmt.Sprintf("hsmmirror key destroy %s for the latest version, or %s --all-versions", n.ref.JWKKID(), n.kid),
			"key %q: want one version, or --all-versions", n.kid)
	}
	return n.kid, n.version, err
}

// leavesAKey returns a usage error if version is the active one: after its destruction nothing signs, and what it has signed verifies
// no more. Who asks for all versions knows. A state that the primary does not tell keeps nobody from
// trying.
func leavesAKey(ctx context.Context, p provider.Provider, kid string, version int) error {
	if version == provider.AllVersions {
		return nil
	}
	ref, err := p.GetKey(ctx, kid, version)
	if err != nil || ref.State != provider.Active || ref.Provenance.Source != provider.Primary {
		return nil
	}
	return usagef(fmt.Sprintf("hsmmirror key rotate %s first, key revoke %s for a compromise, or --force", kid, kid),
		"%s is the version that signs: verifiers would be left without a key", ref.JWKKID())
}

func question(kid string, version int) string {
	if version == provider.AllVersions {
		return fmt.Sprintf("destroy every version of key %q for good?", kid)
	}
	return fmt.Sprintf("destroy version %d of key %q for good?", version, kid)
}

func (a *app) printDestroyed(d provider.Destruction) error {
	a.noteMirroring(fmt.Sprintf("the destruction of key %q", d.KID), d.Mirroring)
	if a.options.json() {
		return a.printJSON(destructionJSON{d.KID, d.Versions, newMirroringJSON(d.Mirroring)})
	}
	for _, v := range d.Versions {
		if _, err := fmt.Fprintf(a.out, "destroyed %s\n", provider.JWKKID(d.KID, v)); err != nil {
			return err
		}
	}
	return nil
}
