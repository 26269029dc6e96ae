package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

// driftJSON is one difference between the token and the keystore. docs/json.md describes the members.
type driftJSON struct {
	Version string `json:"version"`
	Drift   string `json:"drift"`
	Text    string `json:"text"`
	Repair  string `json:"repair"` // what mirror reconcile does about it; empty: nothing
}

// The kinds of drift.
const (
	driftMissing  = "missing"  // the token holds it, the keystore should and does not
	driftReplaced = "replaced" // two keys under one name
	driftOutdated = "outdated" // the copy says something else of the key than the token does
	driftOrphan   = "orphan"   // only the keystore holds it
	driftDamaged  = "damaged"  // a store holds it and can't read it
)

// errDrift makes the exit code of --exit-code.
var errDrift = errors.New("the mirror differs from the token")

func newMirrorDiff(a *app) *cobra.Command {
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Show what differs between the token and its mirror",
		Long: `Compare what the token holds with what the keystore holds, version by version,
and change nothing. Each difference is one line, with what hsmmirror mirror
reconcile does about it. With --exit-code the exit code is 1 if there is any.`,
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
	secondary, err := a.options.openKeystore(ctx)
	if err != nil {
		return nil, err
	}
	defer a.close(secondary)
	held, problems, err := versionsOf(ctx, primary)
	if err != nil {
		return nil, err
	}
	copied, more, err := versionsOf(ctx, secondary)
	if err != nil {
		return nil, err
	}
	drift := a.compare(held, copied)
	for _, problem := range append(problems, more...) {
		drift = append(drift, driftJSON{"", driftDamaged, problem.Error(), ""})
	}
	return drift, nil
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

func (a *app) compare(held, copied map[string]provider.KeyRef) []driftJSON {
	drift := []driftJSON{}
	for name, ref := range held {
		twin, there := copied[name]
		switch fields := outdated(ref, twin); {
		case !there && ref.Alg.Class() == provider.Symmetric && !a.copiesSecret(ref):
		case !there && mirror.Mode(a.options.mode) == mirror.None:
		case !there:
			drift = append(drift, driftJSON{name, driftMissing, "the token holds it, and the keystore does not", "copied"})
		case ref.Fingerprint != twin.Fingerprint || ref.Alg != twin.Alg:
			drift = append(drift, driftJSON{name, driftReplaced, fmt.Sprintf("the token holds %s, and the keystore %s", cmp.Or(ref.Fingerprint, "another key"), cmp.Or(twin.Fingerprint, "another")), ""})
		case len(fields) > 0:
			drift = append(drift, driftJSON{name, driftOutdated, "the keystore has another " + strings.Join(fields, ", "), "copied"})
		}
	}
	for name := range copied {
		if _, there := held[name]; !there {
			drift = append(drift, driftJSON{name, driftOrphan, "the keystore holds it, and the token does not", "removed if it was destroyed through the mirror, else left"})
		}
	}
	slices.SortFunc(drift, func(a, b driftJSON) int { return cmp.Compare(a.Version, b.Version) })
	return drift
}

// copiesSecret tells whether the mode copies a symmetric key.
func (a *app) copiesSecret(ref provider.KeyRef) bool {
	return mirror.Mode(a.options.mode) == mirror.Full && ref.Export == provider.ExportSecretWhenAllowed
}

// outdated names what a copy says otherwise of the same key.
func outdated(ref, twin provider.KeyRef) []string {
	var fields []string
	differ := func(is bool, name string) {
		if is {
			fields = append(fields, name)
		}
	}
	differ(!ref.ActiveFrom.Equal(twin.ActiveFrom) || ref.RetireAfter != twin.RetireAfter, "schedule")
	differ(ref.Label != twin.Label, "label")
	differ(!maps.Equal(ref.Tags, twin.Tags), "tags")
	differ(!slices.Equal(ref.Uses, twin.Uses), "uses")
	differ(ref.Export != twin.Export, "export policy")
	return fields
}

func (a *app) printDrift(drift []driftJSON) error {
	if a.options.json() {
		return a.printJSON(drift)
	}
	if len(drift) == 0 {
		_, err := fmt.Fprintln(a.out, "the mirror holds what the token holds")
		return err
	}
	rows := make([][]string, len(drift))
	for i, d := range drift {
		rows[i] = []string{d.Version, d.Drift, d.Text, cmp.Or(d.Repair, "nothing: look at it")}
	}
	return a.printTable([]string{"VERSION", "DRIFT", "WHAT", "RECONCILE"}, rows)
}
