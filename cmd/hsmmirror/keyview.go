package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

var keyColumns = []string{"KID", "VERSION", "ALG", "STATE", "CREATED", "SOURCE", "LABEL"}

func keyRow(ref provider.KeyRef) []string {
	return []string{ref.KID, strconv.Itoa(ref.Version), string(ref.Alg), string(ref.State), date(ref.Created), ref.Provenance.Source.String(), ref.Label}
}

// printWritten prints the version that a write made.
func (a *app) printWritten(ctx context.Context, p provider.Provider, ref provider.KeyRef) error {
	a.noteMirroring(fmt.Sprintf("key %q", ref.JWKKID()), ref.Mirroring)
	if a.options.json() {
		return a.printJSON(newKeyJSON(ref, a.publicJWK(ctx, p, ref)))
	}
	return a.printTable(keyColumns, [][]string{keyRow(ref)})
}

// printKeys prints a list, and notes where its parts came from. With a mirror it says how that holds each.
func (a *app) printKeys(ctx context.Context, p provider.Provider, list provider.KeyList) error {
	a.noteSource("all of it", list.Provenance)
	a.noteProblems(list.Problems)
	states := a.openMirrorStates(ctx)
	defer states.close()
	objects, rows, columns := make([]keyJSON, 0, len(list.Keys)), make([][]string, 0, len(list.Keys)), keyColumns
	if states.secondary != nil {
		columns = append(slices.Clone(columns), "MIRROR")
	}
	for _, ref := range list.Keys {
		a.noteSource(fmt.Sprintf("key %q", ref.JWKKID()), ref.Provenance)
		state := states.of(ctx, ref)
		if a.options.json() {
			k := newKeyJSON(ref, a.publicJWK(ctx, p, ref))
			k.MirrorState = state
			objects = append(objects, k)
		}
		row := keyRow(ref)
		if states.secondary != nil {
			row = append(row, state)
		}
		rows = append(rows, row)
	}
	if a.options.json() {
		return a.printJSON(objects)
	}
	return a.printTable(columns, rows)
}

// printKey prints all that is known of one version.
func (a *app) printKey(ctx context.Context, p provider.Provider, ref provider.KeyRef) error {
	a.noteSource(fmt.Sprintf("key %q", ref.JWKKID()), ref.Provenance)
	states := a.openMirrorStates(ctx)
	defer states.close()
	state := states.of(ctx, ref)
	if a.options.json() {
		k := newKeyJSON(ref, a.publicJWK(ctx, p, ref))
		k.MirrorState = state
		return a.printJSON(k)
	}
	return a.printFields(slices.Concat(keyFields(ref), evidenceFields(ref.Evidence), sourceFields(ref.Provenance), []field{{"mirror", state}}))
}

// publicJWK returns the public JWK of a version; nil if it has none. The key itself is described all the same if its JWK can't
// be had.
func (a *app) publicJWK(ctx context.Context, p provider.Provider, ref provider.KeyRef) []byte {
	if ref.Alg.Class() == provider.Symmetric {
		return nil
	}
	k, err := p.PublicJWK(ctx, ref.KID, ref.Version)
	if err != nil {
		a.notes.degrade("no public JWK of %q: %v", ref.JWKKID(), err)
		return nil
	}
	return k.JSON()
}

func keyFields(ref provider.KeyRef) []field {
	where := "made in the store"
	if ref.Imported {
		where = "imported"
	}
	half := "public half only"
	if ref.Private {
		half = "can be used here"
	}
	return []field{
		{"kid", ref.KID},
		{"version", strconv.Itoa(ref.Version)},
		{"algorithm", fmt.Sprintf("%s, %d bits, %s", ref.Alg, ref.Bits, ref.Alg.Class())},
		{"uses", join(ref.Uses)},
		{"export policy", string(ref.Export)},
		{"state", string(ref.State)},
		{"created", date(ref.Created)},
		{"active from", date(ref.ActiveFrom)},
		{"origin", where},
		{"private half", half},
		{"fingerprint", ref.Fingerprint},
		{"label", ref.Label},
		{"tags", tagList(ref.Tags)},
	}
}

func evidenceFields(e *provider.Evidence) []field {
	if e == nil {
		return nil
	}
	return []field{
		{"sensitive", yesNo(e.Sensitive)},
		{"extractable", yesNo(e.Extractable)},
		{"always sensitive", yesNo(e.AlwaysSensitive)},
		{"never extractable", yesNo(e.NeverExtractable)},
		{"made on the token", yesNo(e.Local)},
		{"made by", e.KeyGenMechanism},
	}
}

func sourceFields(p provider.Provenance) []field {
	fields := []field{{"source", p.Source.String()}, {"as of", date(p.AsOf)}}
	if p.Stale {
		fields = append(fields, field{"stale", "yes"})
	}
	if p.Orphan {
		fields = append(fields, field{"orphan", "yes"})
	}
	return fields
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return seconds(t).Format(time.RFC3339)
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "the token does not say"
	case *b:
		return "yes"
	}
	return "no"
}

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return strings.Join(words, " ")
}

func tagList(tags map[string]string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		words = append(words, k+"="+tags[k])
	}
	return strings.Join(words, " ")
}
