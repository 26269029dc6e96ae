package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

// errDrift makes the exit code of --exit-code.
var errDrift = errors.New("the token, the keystore and the manifest differ")

func newMirrorDiff(a *app) *cobra.Command {
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Show what differs between the token, the keystore and the manifest",
		Long: `Compare what the token holds with what the keystore holds and with what the
signed manifest says, version by version, and change nothing. Each difference
is one line, with what hsmmirror mirror reconcile does about it. With
--exit-code the exit code is 1 if there is any.`,
		Example: `  hsmmirror mirror diff
  hsmmirror mirror diff --exit-code > /dev/null || hsmmirror mirror reconcile`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			drift, err := a.drift(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.printDrift(drift); err != nil {
				return err
			}
			if exitCode && len(drift) > 0 {
				return errDrift
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 1 if there is a difference")
	return cmd
}

// drift compares the two stores that the options name. It opens them apart: a mirror of both would begin to repair.
func (a *app) drift(ctx context.Context) ([]driftJSON, error) {
	if !a.options.hasPrimary() || a.options.store == "" {
		return nil, errNoMirror
	}
	if err := a.checkStore(a.options.store); err != nil {
		return nil, err
	}
	primary, err := a.openPrimary(ctx)
	if err != nil {
		return nil, err
	}
	defer a.close(primary)
	secondary, err := a.openKeystore(ctx)
	if err != nil {
		return nil, err
	}
	defer a.close(secondary)
	c := comparison{drift: []driftJSON{}}
	var problems, more []error
	if c.held, problems, err = versionsOf(ctx, primary); err != nil {
		return nil, err
	}
	if c.copied, more, err = versionsOf(ctx, secondary); err != nil {
		return nil, err
	}
	c.damaged = damagedOf(ctx, primary, c.held, c.copied)
	maps.Copy(c.damaged, damagedOf(ctx, secondary, c.copied, c.held))
	if err := a.readManifest(ctx, &c); err != nil {
		return nil, err
	}
	for _, problem := range append(problems, more...) {
		c.add("", driftDamaged, "", "%v", problem)
	}
	return a.compare(c), nil
}

// versionsOf returns every version of every key of a store, by the kid of its JWK.
func versionsOf(ctx context.Context, p provider.Provider) (map[string]provider.KeyRef, []error, error) {
	keys, err := p.ListKeys(ctx)
	if err != nil {
		return nil, nil, err
	}
	all, problems := map[string]provider.KeyRef{}, keys.Problems
	for _, latest := range keys.Keys {
		if latest.KID == mirror.ManifestKID {
			continue
		}
		versions, err := p.ListVersions(ctx, latest.KID)
		if err != nil && !errors.Is(err, provider.ErrNotFound) { // it was destroyed meanwhile
			return nil, nil, err
		}
		for _, ref := range versions.Keys {
			all[ref.JWKKID()] = ref
		}
	}
	return all, problems, nil
}

// damagedOf returns which versions a store holds and can't read, of those that the other store lists and it does not.
func damagedOf(ctx context.Context, p provider.Provider, listed, others map[string]provider.KeyRef) map[string]bool {
	damaged := map[string]bool{}
	for name, ref := range others {
		if _, there := listed[name]; there {
			continue
		}
		if _, err := p.GetKey(ctx, ref.KID, ref.Version); errors.Is(err, provider.ErrTampered) {
			damaged[name] = true
		}
	}
	return damaged
}

func (a *app) printDrift(drift []driftJSON) error {
	if a.options.json() {
		return a.printJSON(drift)
	}
	if len(drift) == 0 {
		_, err := fmt.Fprintln(a.out, "the keystore and the manifest say what the token says")
		return err
	}
	rows := make([][]string, len(drift))
	for i, d := range drift {
		rows[i] = []string{cmp.Or(d.Version, "-"), d.Drift, d.Text, cmp.Or(d.Repair, "nothing: look at it")}
	}
	// What differs is a sentence: a narrow terminal may wrap it, and nothing is cut.
	_, err := io.WriteString(a.out, formatTable([]string{"VERSION", "DRIFT", "WHAT", "RECONCILE"}, rows, 0))
	return err
}
