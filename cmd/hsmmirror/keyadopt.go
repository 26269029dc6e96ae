package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

// adoptFlags are the flags of key adopt.
type adoptFlags struct {
	id, label, kid, alg, export string
	tags                        []string
}

func newKeyAdopt(a *app) *cobra.Command {
	var flags adoptFlags
	cmd := &cobra.Command{
		Use:   "adopt --id HEX | --label LABEL [--alg ALG] [--kid KID]",
		Short: "Make a key that another tool made on the token one of ours",
		Long: `Make a key that another tool made on the token one of ours. Only a record is
written beside it; the key's own objects stay as they are. The token proves
first that its two halves belong together. hsmmirror token objects shows IDs
and labels.`,
		Example: `  hsmmirror key adopt --id 01 --kid legacy
  hsmmirror key adopt --label "web server" --alg RSA_PSS_SHA256`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("kid") && flags.kid == "" {
				return errNoName
			}
			adoption, err := flags.adoption()
			if err != nil {
				return err
			}
			return a.withToken(cmd.Context(), func(ctx context.Context, t *hsm.Token) error {
				err := a.adopt(ctx, t, adoption)
				if errors.Is(err, provider.ErrNotFound) {
					err = &hintedError{err, "hsmmirror token objects shows the keys that are there, and their labels and IDs"}
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.id, "id", "", "CKA_ID of the key, in `HEX`")
	f.StringVar(&flags.label, "label", "", "CKA_LABEL of the key")
	f.StringVar(&flags.kid, "kid", "", "name of the key from now on; random if left out")
	f.StringVar(&flags.alg, "alg", "", "algorithm; an RSA key needs it")
	f.StringVar(&flags.export, "export-policy", string(provider.ExportNone), "what may leave the store: none, public_only or secret_when_allowed")
	f.StringArrayVar(&flags.tags, "tag", nil, "a note for programs, `NAME=VALUE`; may be repeated")
	f.SortFlags = false
	cmd.MarkFlagsOneRequired("id", "label")
	return cmd
}

// adopt adopts a key, and has the mirror take it over if there is one.
func (a *app) adopt(ctx context.Context, t *hsm.Token, adoption hsm.Adoption) error {
	if a.options.store == "" {
		ref, err := t.Adopt(ctx, adoption)
		if err != nil {
			return err
		}
		return a.printWritten(ctx, t, ref)
	}
	keystore, err := a.openKeystore(ctx)
	if err != nil {
		return err
	}
	m, err := mirror.New(t, keystore, a.options.mirrorConfig())
	if err != nil {
		return err
	}
	defer a.close(m)
	ref, err := t.Adopt(ctx, adoption)
	if err != nil {
		return err
	}
	report, err := m.Reconcile(ctx)
	ref.Mirroring = mirroringOf(ref, report, err)
	return a.printWritten(ctx, m, ref)
}

// mirroringOf says what a reconciliation did for ref.
func mirroringOf(ref provider.KeyRef, report mirror.Report, err error) *provider.Mirroring {
	for _, u := range report.Unmirrored {
		if u.Version.KID == ref.KID && u.Version.Version == ref.Version {
			return &provider.Mirroring{Reason: u.Reason}
		}
	}
	if err != nil {
		return &provider.Mirroring{Reason: err.Error()}
	}
	return &provider.Mirroring{Mirrored: true}
}

func (f *adoptFlags) adoption() (hsm.Adoption, error) {
	id, err := parseID(f.id)
	if err != nil {
		return hsm.Adoption{}, err
	}
	tags, err := parseTags(f.tags)
	if err != nil {
		return hsm.Adoption{}, err
	}
	return hsm.Adoption{ID: id, Label: f.label, KID: f.kid, Alg: provider.KeyAlg(f.alg), Export: provider.ExportPolicy(f.export), Tags: tags}, nil
}
