package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// jwks returns the published keys that the secondary may answer for. With a pin the set is whole or an error: none that the
// manifest publishes is left out. source is the secondary's own set, if nothing else went into it.
func (w view) jwks(ctx context.Context, prefix string) (served []provider.JWK, source []byte, err error) {
	copied, source, err := w.m.copies.jwks(ctx, w.l, prefix)
	if err != nil {
		return nil, nil, w.failed(err)
	}
	served = copied[:0]
	there := make(map[Version]bool, len(copied))
	for _, k := range copied {
		ref := k.Ref()
		there[nameOf(ref)] = true
		k, err := w.serve(k)
		switch e, _ := w.l.get(nameOf(ref)); {
		case err == nil && k.State.Published():
			served = append(served, k)
		case errors.Is(err, provider.ErrTampered) && e.signed && w.pinned():
			return nil, nil, w.failed(err)
		}
	}
	for v, e := range w.l.all() {
		if there[v] || !strings.HasPrefix(v.KID, prefix) || !w.publishes(v, e) {
			continue
		}
		k, err := w.leftOut(ctx, v)
		if err == nil {
			served, source = append(served, k), nil
		} else if w.pinned() {
			return nil, nil, w.failed(err)
		}
	}
	return served, source, nil
}

// publishes tells whether the mirror publishes a version, whatever the secondary makes of its schedule.
func (w view) publishes(v Version, e entry) bool {
	return e.servable() && (e.Missing.IsZero() || !w.m.cfg.RefuseOrphans) && e.Alg.Class() == provider.Asymmetric && (e.signed || !w.pinned()) && w.state(e.ref(v)).Published()
}

// leftOut returns the key of a version that the secondary's own JWK Set leaves out. [provider.ErrTampered] if it does not hold
// it.
func (w view) leftOut(ctx context.Context, v Version) (provider.JWK, error) {
	k, err := w.m.copies.jwk(ctx, w.l, v)
	if errors.Is(err, provider.ErrNotFound) {
		err = fmt.Errorf("%w: the secondary does not hold %q", provider.ErrTampered, v)
	}
	if err != nil {
		return k, err
	}
	return w.serve(k)
}

// serve returns k as it is served, or the error of admit.
func (w view) serve(k provider.JWK) (provider.JWK, error) {
	ref := k.Ref()
	ref.Fingerprint = k.Thumbprint() // of the key itself, whatever the store says
	if err := w.admit(ref); err != nil {
		return k, err
	}
	k.State, k.Provenance = w.state(ref), w.m.provenance(w.why, nameOf(ref))
	return k, nil
}

// pinned tells whether only what the manifest names is served.
func (w view) pinned() bool { return w.m.cfg.Pin != "" }
