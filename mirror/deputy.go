package mirror

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// deputy is the secondary's signer of one version, whose public half is the one that the manifest names, and which has shown
// that it holds the private half.
type deputy struct {
	provider.Signer
	ref provider.KeyRef // under the primary's names
}

// KeyRef implements [provider.Signer].
func (d *deputy) KeyRef() provider.KeyRef { return d.ref.Clone() }

// maySign returns nil if the secondary may sign with its copy of the version that ref describes: it may be served, its export
// policy lets the private half out, the primary had it to the end, and nobody has asked for its destroy.
func (w view) maySign(ref provider.KeyRef) error {
	if err := w.admit(ref); err != nil {
		return w.refused(err)
	}
	e, _ := w.l.get(nameOf(ref))
	switch {
	case !w.pinned() || !e.signed:
		return w.failed(fmt.Errorf("nobody vouches for %q", ref.JWKKID()))
	case e.Intent != nil:
		return w.failed(fmt.Errorf("%q was to be destroyed", ref.JWKKID()))
	case !e.Missing.IsZero():
		return w.failed(fmt.Errorf("%q was missing on the primary before", ref.JWKKID()))
	case e.Export != provider.ExportSecretWhenAllowed:
		return w.failed(fmt.Errorf("it does not sign with %q, whose export policy is %s", ref.JWKKID(), e.Export))
	case !ref.Private:
		return w.failed(fmt.Errorf("it holds the public half of %q only", ref.JWKKID()))
	}
	return nil
}

// deputy returns the secondary's signer of a version; 0 is the active one.
func (w view) deputy(ctx context.Context, kid string, version int) (*deputy, error) {
	ref, err := w.signing(ctx, kid, version)
	if err != nil {
		return nil, err
	}
	if err := w.maySign(ref); err != nil {
		return nil, err
	}
	s, err := w.m.copies.signer(ctx, w.l, nameOf(ref))
	switch {
	case errors.Is(err, provider.ErrInvalid):
		return nil, err // its uses do not name sign
	case err != nil:
		return nil, w.failed(err)
	}
	public, err := provider.NewJWK(ref, s.Public())
	if err != nil {
		return nil, w.failed(fmt.Errorf("%w: the public half of %q: %w", provider.ErrTampered, ref.JWKKID(), err))
	}
	ref.Fingerprint = public.Thumbprint() // of the key itself, whatever the store says
	if err := w.maySign(ref); err != nil {
		return nil, err
	}
	if err := prove(ctx, w.m.copies, s, public); err != nil {
		return nil, w.failed(err)
	}
	return &deputy{s, w.finish(ref)}, nil
}

// signing describes the version that would sign from its copy. If the active version is not on the secondary, none is.
func (w view) signing(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	if w.l.destroyed(kid, version) {
		return provider.KeyRef{}, provider.NotFound(kid, version)
	}
	if version != 0 {
		return w.key(ctx, kid, version)
	}
	list, err := w.versions(ctx, kid)
	if err != nil {
		return provider.KeyRef{}, err
	}
	for _, ref := range list.Keys {
		if ref.State == provider.Active {
			return ref, nil
		}
	}
	return provider.KeyRef{}, w.failed(fmt.Errorf("it holds no active version of %q", kid))
}

// signer returns the secondary's signer of the copy of v.
func (c *copies) signer(ctx context.Context, l *ledger, v Version) (provider.Signer, error) {
	store, ok := c.store.(provider.Signing)
	if !ok {
		return nil, provider.Unsupportedf("sign: the secondary has no such operation")
	}
	at, _ := l.place(v)
	s, err := read(ctx, c, func(ctx context.Context) (provider.Signer, error) { return store.Signer(ctx, at.KID, at.Version) })
	if err != nil {
		return nil, err
	}
	return s, sameName(at, s.KeyRef())
}

// prove has s sign a nonce, and returns [provider.ErrTampered] unless the signature is one of the public key's.
func prove(ctx context.Context, c *copies, s provider.Signer, public provider.JWK) error {
	nonce := []byte("hsmmirror signing failover " + rand.Text())
	alg := public.Alg()
	signature, err := read(ctx, c, func(ctx context.Context) ([]byte, error) {
		return s.SignContext(ctx, alg.Digest(nonce), alg.SignerOpts())
	})
	if err != nil {
		return err
	}
	if public.Verify(nonce, signature) != nil {
		return fmt.Errorf("%w: the private half of %q is not that of its public half", provider.ErrTampered, public.JWKKID())
	}
	return nil
}

// deputySigned counts a signature of the secondary's, and logs the first one of an outage.
func (m *Mirror) deputySigned(v Version, why absence) {
	m.deputySignatures.Add(1)
	since := int64(0)
	if o := m.up.outage.Load(); o != nil {
		since = o.since.UnixNano()
	}
	if m.deputySince.Swap(since) != since {
		m.log.Warn("the secondary signs in the primary's place", "key", v.String(), "cause", why.err)
	}
}
