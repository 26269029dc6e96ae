package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

// renamedJSON is the output of key rename. docs/json.md describes the members.
type renamedJSON struct {
	KID          string   `json:"kid"`
	Version      int      `json:"version"`
	ObjectLabel  string   `json:"object_label"`
	Before       []string `json:"before"`
	OtherObjects int      `json:"other_objects"`
}

func newKeyRename(a *app) *cobra.Command {
	var label string
	cmd := &cobra.Command{
		Use:     "rename KID[.VERSION] --label LABEL",
		Aliases: []string{"relabel"},
		Short:   "Change the label by which other programs find a key on the token",
		Long: `Change the CKA_LABEL of a key's objects on the token: of both halves, and of
the certificates beside them that have had the same label. By it other programs
find the key: OpenSSL and nginx by pkcs11:object=LABEL, pkcs11-tool by --label.
A KID alone stands for its latest version.

The kid stays, and so do the JWK Set, signatures and the note for people that
key list shows. The next version begins again with the label KID.vN. A token
that keeps labels as they are refuses, and then both halves have the old one.

If other objects on the token have the label too, the exit code is 3: a program
that looks for it may take one of them.`,
		Example: `  hsmmirror key rename payments --label 'web server'
  hsmmirror key rename payments.2 --label payments-old`,
		Args: args(1, "KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := provider.ValidateObjectLabel(label); err != nil {
				return usageErrorf(err, "--label: %v", err)
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				return a.rename(ctx, p, args[0], label)
			})
		},
	}
	cmd.Flags().StringVar(&label, "label", "", "the new label, `LABEL`; 1 to "+strconv.Itoa(provider.MaxLabel)+" bytes that can be printed")
	if err := cmd.MarkFlagRequired("label"); err != nil {
		panic(err) // there is no such flag: an error of the program
	}
	return cmd
}

func (a *app) rename(ctx context.Context, p provider.Provider, name, label string) error {
	n, err := find(ctx, p, name)
	if err != nil {
		return err
	}
	l, ok := p.(provider.Labelling)
	if !ok {
		return provider.Unsupportedf("rename %q: the keys of a keystore have no label that other programs look for, those of a token have", n.ref.JWKKID())
	}
	done, err := l.Relabel(ctx, n.kid, n.version, label)
	if err != nil {
		return err
	}
	if done.Others > 0 {
		a.notes.degrade("%d other objects on the token have the label %s: a program that looks for it may take one of them", done.Others, strconv.QuoteToGraphic(label))
		a.notes.add("hint", "hsmmirror token objects --label LABEL shows them")
	}
	if note := done.Ref.Label; note != label && slices.Contains(done.Before, note) {
		a.notes.add("hint", "key list goes on to show %s, the note for people; hsmmirror key rotate --label gives the next version another", strconv.QuoteToGraphic(note))
	}
	out := renamedJSON{done.Ref.KID, done.Ref.Version, done.Label, done.Before, done.Others}
	if a.options.json() {
		return a.printJSON(out)
	}
	_, err = fmt.Fprintf(a.out, "%s has the label %s, and had %s\n", done.Ref.JWKKID(), printable(label), printable(strings.Join(done.Before, ", ")))
	return err
}
