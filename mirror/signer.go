package mirror

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hsmmirror/hsmmirror/provider"
)

var _ provider.ProvenanceSigner = (*signer)(nil)

// Signer implements [provider.Signing] by the primary. With Config.FailOverSigning it answers during an outage too, for what
// the secondary may sign with, and the signer goes over from one store to the other by itself. Otherwise both answer
// [provider.ErrUnavailable] then. The signer is a [provider.ProvenanceSigner].
func (m *Mirror) Signer(ctx context.Context, kid string, version int) (provider.Signer, error) {
	p, err := ability(ctx, m, kid, version, "sign", func(ctx context.Context, p provider.Signing) (provider.Signer, error) {
		return p.Signer(ctx, kid, version)
	})
	if err == nil {
		s := &signer{object: object{m}, Signer: p}
		s.primary.Store(&p)
		return s, nil
	}
	if !m.cfg.FailOverSigning || !provider.IsOutage(err) {
		return nil, err
	}
	w, err := m.look(ctx, absence{err: err})
	if err != nil {
		return nil, err
	}
	deputy, err := w.deputy(ctx, kid, version)
	if err != nil {
		return nil, err
	}
	s := &signer{object: object{m}, Signer: deputy}
	s.deputy.Store(deputy)
	return s, nil
}

// signer signs with one version: by the primary, and by the secondary's deputy during an outage where Config.FailOverSigning
// says so. A primary that fails fast is asked first each time, so that its first answer ends the outage; while it hangs it
// is passed by.
type signer struct {
	object
	provider.Signer                                 // of the store that answered when the signer was asked for: KeyRef and Public
	primary         atomic.Pointer[provider.Signer] // nil until the primary has given it
	deputy          atomic.Pointer[deputy]          // nil until there was need of it
}

// Sign implements crypto.Signer, within the stores' own time limits.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.SignContext(context.Background(), digest, opts)
}

// SignContext implements [provider.Signer].
func (s *signer) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, _, err := s.SignWithProvenance(ctx, digest, opts)
	return signature, err
}

// SignWithProvenance implements [provider.ProvenanceSigner].
func (s *signer) SignWithProvenance(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, provider.Provenance, error) {
	a, err := s.byPrimary(ctx, digest, opts)
	if err != nil && s.m.cfg.FailOverSigning && provider.IsOutage(err) {
		a, err = s.byDeputy(ctx, absence{err: err}, digest, opts)
	}
	return a.signature, a.provenance, err
}

// signed is a signature and who made it.
type signed struct {
	signature  []byte
	provenance provider.Provenance
}

// byPrimary has the primary sign. Where the secondary could do it, it waits no longer than for a read.
func (s *signer) byPrimary(ctx context.Context, digest []byte, opts crypto.SignerOpts) (signed, error) {
	limited := ctx
	if s.m.cfg.FailOverSigning {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, s.m.cfg.PrimaryTimeout)
		defer cancel()
	}
	return use(ctx, s.m, func() (signed, error) {
		p, err := s.atPrimary(limited)
		if err != nil {
			return signed{}, err
		}
		signature, provenance, err := provider.SignWithProvenance(limited, p, digest, opts)
		return signed{signature, provenance}, err
	})
}

// atPrimary returns the primary's own signer, of the same key.
func (s *signer) atPrimary(ctx context.Context) (provider.Signer, error) {
	if p := s.primary.Load(); p != nil {
		return *p, nil
	}
	store, ok := s.m.primary.(provider.Signing)
	if !ok {
		return nil, lacking("sign")
	}
	ref := s.KeyRef()
	p, err := store.Signer(ctx, ref.KID, ref.Version)
	if err != nil {
		return nil, err
	}
	if k, ok := p.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(s.Public()) {
		return nil, fmt.Errorf("%w: the primary's %q is another key than the mirror signed with", provider.ErrTampered, ref.JWKKID())
	}
	s.primary.Store(&p)
	return p, nil
}

// byDeputy has the secondary sign in the primary's place. Whether it may is looked at for every signature.
func (s *signer) byDeputy(ctx context.Context, why absence, digest []byte, opts crypto.SignerOpts) (signed, error) {
	w, err := s.m.look(ctx, why)
	if err != nil {
		return signed{}, err
	}
	ref := s.KeyRef()
	d := s.deputy.Load()
	if d == nil {
		if d, err = w.deputy(ctx, ref.KID, ref.Version); err != nil {
			return signed{}, err
		}
		s.deputy.Store(d)
	} else if err := w.maySign(d.ref); err != nil {
		return signed{}, err
	}
	signature, err := read(ctx, s.m.copies, func(ctx context.Context) ([]byte, error) { return d.SignContext(ctx, digest, opts) })
	switch {
	case errors.Is(err, provider.ErrInvalid):
		return signed{}, err // what was asked for is wrong, whoever is asked
	case err != nil:
		return signed{}, w.failed(err)
	}
	s.m.deputySigned(nameOf(ref), why)
	return signed{signature, s.m.provenance(why, nameOf(ref))}, nil
}
