package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

func newMirror(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "mirror",
		Short: "Look after the mirror of a token's keys",
	}, newMirrorStatus(a), newMirrorDiff(a), newMirrorReconcile(a), newMirrorVerify(a), newMirrorPin(a), newMirrorExport(a))
}

func newMirrorPin(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "pin",
		Short: "Print the thumbprint to pin the mirror's manifest to",
		Long: `Print the RFC 7638 thumbprint of the key on the token that signs the mirror's
manifest. The token makes the key if it has none. Give the thumbprint to every
reader as --manifest-pin, by a way that who can write the mirror's files can't
change: with it nothing is served from the mirror that the token did not vouch
for.`,
		Example: `  hsmmirror mirror pin
  export HSMMIRROR_MANIFEST_PIN=$(hsmmirror mirror pin)`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.makes = true
			return a.withMirror(cmd.Context(), func(ctx context.Context, m *mirror.Mirror) error {
				pin, err := m.ManifestPin(ctx)
				if err != nil {
					return err
				}
				if a.options.json() {
					return a.printJSON(pinJSON{pin})
				}
				_, err = fmt.Fprintln(a.out, pin)
				return err
			})
		},
	}
}

// errNoMirror means that the options name one store, and not two.
var errNoMirror = usagef("name both a token and a keystore: --module, --token and --store, or a mirrored: URI with --uri", "there is no mirror")

// pinJSON is the output of mirror pin.
type pinJSON struct {
	Pin string `json:"manifest_pin"`
}

// withMirror runs f with the mirror that the options name.
func (a *app) withMirror(ctx context.Context, f func(context.Context, *mirror.Mirror) error) error {
	return a.withStore(ctx, func(ctx context.Context, p provider.Provider) error {
		m, ok := p.(*mirror.Mirror)
		if !ok {
			return errNoMirror
		}
		return f(ctx, m)
	})
}

// noteMirror takes notice of a mirror that can't be trusted, from which nothing is served.
func (a *app) noteMirror(m *mirror.Mirror) {
	if err := m.Status().State; err != nil {
		a.notes.degrade("nothing is served from the mirror: %v", err)
	}
}
