package mirror

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

var (
	_ provider.Provider       = (*Mirror)(nil)
	_ provider.Signing        = (*Mirror)(nil)
	_ provider.Decrypting     = (*Mirror)(nil)
	_ provider.Encrypting     = (*Mirror)(nil)
	_ provider.Authenticating = (*Mirror)(nil)
	_ provider.KeyAgreement   = (*Mirror)(nil)
	_ provider.Exporting      = (*Mirror)(nil)
	_ provider.Replica        = (*Mirror)(nil)
	_ provider.Checking       = (*Mirror)(nil)
	_ provider.Resolving      = (*Mirror)(nil)
)

// Capabilities implements [provider.Provider]. It says what the primary can do; while the primary is down, what it last
// said.
func (m *Mirror) Capabilities(ctx context.Context) (provider.Capabilities, error) {
	if err := m.ready(ctx); err != nil {
		return provider.Capabilities{}, err
	}
	c, err := ask(ctx, m, m.primary.Capabilities)
	if last := m.caps.Load(); provider.IsOutage(err) && last != nil {
		c, err = *last, nil
	}
	if err != nil {
		return provider.Capabilities{}, err
	}
	c.Algs, c.Features = slices.Clone(c.Algs), slices.Clone(c.Features)
	m.caps.Store(&c)
	told := provider.Capabilities{Store: "mirrored", Algs: slices.Clone(c.Algs), Features: slices.Clone(c.Features)}
	if !m.cfg.NoFailOpenReads && !told.Has(provider.FeatureFailover) {
		told.Features = append(told.Features, provider.FeatureFailover)
	}
	return told, nil
}

// RandomBytes implements [provider.Provider]: the primary's, or the secondary's during an outage.
func (m *Mirror) RandomBytes(ctx context.Context, n int) ([]byte, error) {
	return either(ctx, m, provider.ValidateRandom(n), func(ctx context.Context, p provider.Provider) ([]byte, error) {
		return p.RandomBytes(ctx, n)
	})
}

// HKDF implements [provider.Provider].
func (m *Mirror) HKDF(ctx context.Context, ikm, salt, info []byte, length int) ([]byte, error) {
	var invalid error
	if length < 0 || length > provider.MaxHKDFBytes {
		invalid = provider.Invalidf("HKDF output of %d bytes: want 0 to %d", length, provider.MaxHKDFBytes)
	}
	return either(ctx, m, invalid, func(ctx context.Context, p provider.Provider) ([]byte, error) {
		return p.HKDF(ctx, ikm, salt, info, length)
	})
}

// either returns what get answers on the primary, or on the secondary during an outage, for what is the same on both.
func either[T any](ctx context.Context, m *Mirror, invalid error, get func(context.Context, provider.Provider) (T, error)) (T, error) {
	if err := m.ready(ctx, invalid); err != nil {
		var none T
		return none, err
	}
	v, err := ask(ctx, m, func(ctx context.Context) (T, error) { return get(ctx, m.primary) })
	if !provider.IsOutage(err) || m.cfg.NoFailOpenReads {
		return v, err
	}
	v, serr := read(ctx, m.copies, func(ctx context.Context) (T, error) { return get(ctx, m.copies.store) })
	if serr != nil {
		return v, view{m: m, why: absence{err: err}}.failed(serr)
	}
	return v, nil
}

// ability returns what get answers on the primary for a version, by the optional interface I. It does not fail over: private
// halves are the primary's to use, and only Signer knows an exception.
func ability[I, T any](ctx context.Context, m *Mirror, kid string, version int, what string, get func(context.Context, I) (T, error)) (T, error) {
	var none T
	if err := m.readyFor(ctx, kid, version); err != nil {
		return none, err
	}
	store, ok := m.primary.(I)
	if !ok {
		return none, lacking(what)
	}
	if err := m.up.hanging(); err != nil {
		return none, err
	}
	return askNow(ctx, m, func(ctx context.Context) (T, error) { return get(ctx, store) })
}

func lacking(what string) error {
	return provider.Unsupportedf("%s: the primary has no such operation", what)
}

// Decrypter implements [provider.Decrypting] by the primary.
func (m *Mirror) Decrypter(ctx context.Context, kid string, version int) (provider.Decrypter, error) {
	d, err := ability(ctx, m, kid, version, "decrypt", func(ctx context.Context, p provider.Decrypting) (provider.Decrypter, error) {
		return p.Decrypter(ctx, kid, version)
	})
	if err != nil {
		return nil, err
	}
	return &decrypter{object{m}, d}, nil
}

// AEAD implements [provider.Encrypting] by the primary.
func (m *Mirror) AEAD(ctx context.Context, kid string, version int) (provider.AEAD, error) {
	a, err := ability(ctx, m, kid, version, "encrypt", func(ctx context.Context, p provider.Encrypting) (provider.AEAD, error) {
		return p.AEAD(ctx, kid, version)
	})
	if err != nil {
		return nil, err
	}
	return &aead{object{m}, a}, nil
}

// MAC implements [provider.Authenticating] by the primary.
func (m *Mirror) MAC(ctx context.Context, kid string, version int) (provider.MAC, error) {
	a, err := ability(ctx, m, kid, version, "authenticate", func(ctx context.Context, p provider.Authenticating) (provider.MAC, error) {
		return p.MAC(ctx, kid, version)
	})
	if err != nil {
		return nil, err
	}
	return &mac{object{m}, a}, nil
}

// ECDH implements [provider.KeyAgreement] by the primary.
func (m *Mirror) ECDH(ctx context.Context, kid string, version int, peer *ecdh.PublicKey) (provider.Secret, error) {
	return ability(ctx, m, kid, version, "agree on keys", func(ctx context.Context, p provider.KeyAgreement) (provider.Secret, error) {
		return p.ECDH(ctx, kid, version, peer)
	})
}

// ExportKey implements [provider.Exporting] by the primary. Of a primary that hands out nothing, no key is exportable.
func (m *Mirror) ExportKey(ctx context.Context, kid string, version int) (provider.Secret, error) {
	if _, ok := m.primary.(provider.Exporting); !ok {
		return ability(ctx, m, kid, version, "describe", func(ctx context.Context, p provider.Provider) (provider.Secret, error) {
			ref, err := p.GetKey(ctx, kid, version)
			if err == nil {
				err = fmt.Errorf("%w: %q: the primary hands out none", provider.ErrNotExportable, ref.JWKKID())
			}
			return provider.Secret{}, err
		})
	}
	return ability(ctx, m, kid, version, "export", func(ctx context.Context, p provider.Exporting) (provider.Secret, error) {
		return p.ExportKey(ctx, kid, version)
	})
}

// Health implements [provider.Checking]: nil if the primary answers. It asks the primary also while it is taken to be down,
// so that its recovery is noticed. [Mirror.Status] says how the secondary is.
func (m *Mirror) Health(ctx context.Context) error {
	if err := m.ready(ctx); err != nil {
		return err
	}
	_, err := askNow(ctx, m, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, check(ctx, m.primary, m.cfg.PrimaryTimeout)
	})
	return err
}

// KeyByURI implements [provider.Resolving]: a mirrored: URI names the key that its primary's URI names.
func (m *Mirror) KeyByURI(ctx context.Context, uri string) (provider.KeyRef, error) {
	scheme, query, _ := strings.Cut(uri, "?")
	values, err := url.ParseQuery(query)
	inner := values.Get("primary")
	var invalid error
	if !strings.EqualFold(scheme, Scheme+":") || err != nil || inner == "" {
		invalid = provider.Invalidf("URI names no key: want mirrored:?primary=URI, percent-encoded, whose URI names one")
	}
	if err := m.ready(ctx, invalid); err != nil {
		return provider.KeyRef{}, err
	}
	kid, version, err := provider.ParseKeyQuery(inner)
	if err == nil && kid == "" {
		var ref provider.KeyRef
		ref, err = ask(ctx, m, func(ctx context.Context) (provider.KeyRef, error) { return provider.KeyByURI(ctx, m.primary, inner) })
		kid, version = ref.KID, ref.Version
	}
	if err != nil {
		return provider.KeyRef{}, err
	}
	return m.GetKey(ctx, kid, version)
}
