package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

func newMirrorVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Verify the mirror without the token, as a reader does",
		Long: `Verify the keystore of --store against its signed manifest, without a token and
without a PIN: the manifest was signed by the key of --manifest-pin, is not
expired and no older than the latest that was seen (--state-dir), and every key
that it names is there as it says.`,
		Example: `  hsmmirror mirror verify --store /var/lib/hsmmirror --manifest-pin $PIN --state-dir /var/lib/reader`,
		Args:    args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withReader(cmd.Context(), func(ctx context.Context, m *mirror.Mirror) error {
				set, err := m.JWKS(ctx, "")
				if err != nil {
					return err
				}
				s := newStatusJSON(m.Status())
				if s.Problem != "" || s.Manifest == nil {
					return fmt.Errorf("%w: %s", provider.ErrTampered, cmp.Or(s.Problem, "there is no manifest"))
				}
				if !s.Manifest.Pinned {
					a.notes.degrade("nobody vouches for the manifest: name its key's thumbprint with --manifest-pin")
				}
				if set.Provenance.Stale {
					a.notes.degrade("the manifest is stale: the token last signed it %s", ageText(&s.Manifest.Issued))
				}
				if a.options.json() {
					return a.printJSON(verifiedJSON{s.Manifest, set.Len()})
				}
				_, err = fmt.Fprintf(a.out, "the manifest, generation %d of %s, is good, and so are the %d keys that it publishes\n",
					s.Manifest.Generation, ageText(&s.Manifest.Issued), set.Len())
				return err
			})
		},
	}
}

// verifiedJSON is the output of mirror verify.
type verifiedJSON struct {
	Manifest *manifestSummary `json:"manifest"`
	Keys     int              `json:"keys"`
}

func newMirrorExport(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the signed manifest, to hand out to verifiers",
		Long: `Write the mirror's manifest, a signed JWK Set (JWT, typ jwk-set+jwt), after
verifying it as hsmmirror mirror verify does. Whoever has the pin can take the
public keys from it, whatever way it comes.`,
		Example: `  hsmmirror mirror export --out /var/www/jwks.jwt`,
		Args:    args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withReader(cmd.Context(), func(ctx context.Context, m *mirror.Mirror) error {
				if s := m.Status(); s.State != nil || s.Manifest.Issued.IsZero() {
					return fmt.Errorf("%w: %w", provider.ErrTampered, errors.Join(s.State, errNoManifest))
				}
				manifest, err := os.ReadFile(filepath.Join(a.options.store, "mirror", "manifest.jwt"))
				if err != nil {
					return err
				}
				return a.writeOutput(out, manifest, 0o644)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write; stdout if left out or -")
	return prints("the manifest, a JWT", cmd)
}

var errNoManifest = errors.New("there is no manifest that can be trusted")

// withReader runs f with the mirror of the keystore alone, as a reader has it who has no token.
func (a *app) withReader(ctx context.Context, f func(context.Context, *mirror.Mirror) error) error {
	if a.options.store == "" {
		return usagef("name its directory with --store", "no keystore was named")
	}
	if err := a.checkStore(a.options.store); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(a.options.store, "mirror")); errors.Is(err, fs.ErrNotExist) {
		return &hintedError{fmt.Errorf("there is no mirror in %s", printable(a.options.store)), "hsmmirror mirror reconcile makes it, where the token is"}
	}
	m, err := a.openReader(ctx)
	if err != nil {
		return err
	}
	defer a.close(m)
	return f(ctx, m)
}

// openReader returns the mirror of the keystore alone.
func (a *app) openReader(ctx context.Context) (*mirror.Mirror, error) {
	if err := a.checkStore(a.options.store); err != nil {
		return nil, err
	}
	secondary, err := a.openKeystore(ctx)
	if err != nil {
		return nil, err
	}
	a.reads = true
	return mirror.NewReader(secondary, a.options.mirrorConfig())
}
