package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// cargo is what there is to copy of one version.
type cargo struct {
	material provider.KeyMaterial
	complete bool   // it is all that the mode asks for
	reason   string // why it is less than the mode's name promises
	jwk      []byte // the public JWK; nil if symmetric
}

// collect reads from the primary what the mode asks for, and nothing else: a private half is asked for only where it may
// be copied. The caller wipes it.
func (m *Mirror) collect(ctx context.Context, ref provider.KeyRef) (cargo, error) {
	c := cargo{complete: true}
	if ref.Alg.Class() != provider.Symmetric {
		k, err := ask(ctx, m, func(ctx context.Context) (provider.JWK, error) { return m.primary.PublicJWK(ctx, ref.KID, ref.Version) })
		if err != nil {
			return c, fmt.Errorf("public half: %w", err)
		}
		if k.Thumbprint() != ref.Fingerprint {
			return c, fmt.Errorf("%w: the primary's public half has the thumbprint %q, its description %q", provider.ErrTampered, k.Thumbprint(), ref.Fingerprint)
		}
		if c.material, err = provider.PublicMaterial(k.PublicKey()); err != nil {
			return c, err
		}
		c.jwk = k.JSON()
	}
	if m.cfg.Mode == Full && ref.Private {
		m.collectPrivate(ctx, ref, &c)
	} else if ref.Alg.Class() == provider.Symmetric {
		c.reason = "symmetric: no public half"
	}
	return c, nil
}

// collectPrivate adds the private or secret half, if the export policy and the primary give it out.
func (m *Mirror) collectPrivate(ctx context.Context, ref provider.KeyRef, c *cargo) {
	if ref.Export != provider.ExportSecretWhenAllowed {
		c.reason = fmt.Sprintf("private half not copied: its export policy is %s", ref.Export)
		return
	}
	e, ok := m.primary.(provider.Exporting)
	if !ok {
		c.reason = "private half not copied: the primary hands out none"
		return
	}
	private, err := ask(ctx, m, func(ctx context.Context) (provider.Secret, error) { return e.ExportKey(ctx, ref.KID, ref.Version) })
	if err != nil {
		c.reason = fmt.Sprintf("private half not copied: %v", err)
		c.complete = errors.Is(err, provider.ErrNotExportable) || errors.Is(err, provider.ErrUnsupported)
		return
	}
	c.material.Private = private
}
