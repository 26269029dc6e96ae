package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Everything that is served from the secondary passes through this file. What a copy must be to be served stands in admit.

// view is what the mirror knows at the moment of one answer from the secondary, and why it gives it.
type view struct {
	m   *Mirror
	l   *ledger
	why absence
	now time.Time
}

// look returns the view for an answer in the primary's place, or the reason why there can be none. It is called after the
// primary has answered, so that a destroy which the primary has carried out shows in the ledger.
func (m *Mirror) look(ctx context.Context, why absence) (view, error) {
	m.state.look(ctx, false)
	w := view{m, m.state.current(), why, time.Now()}
	return w, m.trusted(w.now)
}

// trusted returns nil if the secondary may be asked at all: the files are whole, and the manifest is one that the pin
// vouches for and not too old.
func (m *Mirror) trusted(now time.Time) error {
	if err := m.state.sound(); err != nil {
		return err
	}
	signed := m.state.signed.Load()
	switch {
	case signed != nil:
		return signed.fresh(now, m.cfg.RefuseAfter)
	case m.cfg.Pin != "":
		return fmt.Errorf("%w: there is no manifest to hold against the pin", provider.ErrTampered)
	}
	return nil
}

// admit returns nil if the copy that ref describes may be served: it was not destroyed, and it is the key that the primary
// gave the version; with a pin, just as the manifest names it. [provider.ErrNotFound] or [provider.ErrTampered] if not.
func (w view) admit(ref provider.KeyRef) error {
	pinned := w.pinned()
	e, known := w.l.get(nameOf(ref))
	switch {
	case ref.KID == ManifestKID:
		return provider.NotFound(ref.KID, ref.Version)
	case !known && !pinned:
		return nil
	case known && e.gone(w.m.state.owner, w.why):
		return provider.NotFound(ref.KID, ref.Version)
	case !e.Missing.IsZero() && w.m.cfg.RefuseOrphans:
		return provider.NotFound(ref.KID, ref.Version)
	case pinned && !e.signed:
		return fmt.Errorf("%w: the manifest does not name %q", provider.ErrTampered, ref.JWKKID())
	case pinned && e.doomed:
		return fmt.Errorf("%w: %q was about to be destroyed when the primary was last heard of", provider.ErrUnavailable, ref.JWKKID())
	case e.Conflict != "":
		return fmt.Errorf("%w: %q was replaced on the primary: its thumbprint was %s and is now %s", provider.ErrTampered, ref.JWKKID(), e.Fingerprint, e.Conflict)
	case e.Fingerprint != ref.Fingerprint:
		return fmt.Errorf("%w: the secondary's %q has the thumbprint %q, the primary gave it %q", provider.ErrTampered, ref.JWKKID(), ref.Fingerprint, e.Fingerprint)
	case pinned && !e.describes(ref):
		return fmt.Errorf("%w: the secondary describes %q otherwise than the manifest", provider.ErrTampered, ref.JWKKID())
	}
	return nil
}

// finish returns ref as it is served.
func (w view) finish(ref provider.KeyRef) provider.KeyRef {
	ref.State = w.state(ref)
	ref.Mirroring = nil
	ref.Provenance = w.m.provenance(w.why, nameOf(ref))
	return ref
}

// state returns the state of a version that the secondary describes. Of one that the ledger does not know it is the later
// of what the two make of it: a version is superseded as soon as one of them knows a successor.
func (w view) state(ref provider.KeyRef) provider.State {
	heard := w.m.asOf
	if w.why.answered {
		heard = nil
	}
	s := w.l.state(w.now, ref, heard)
	if e, known := w.l.get(nameOf(ref)); known && !e.ActiveFrom.IsZero() {
		return s
	}
	return later(ref.State, s)
}

// failed returns the error of a read that the secondary did not answer either. Without an answer from the primary, a key
// that the secondary lacks is not "not found": nobody knows.
func (w view) failed(err error) error {
	switch {
	case w.why.answered:
		return w.why.err
	case errors.Is(w.why.err, errAbsent) && errors.Is(err, provider.ErrTampered):
		return err
	case errors.Is(err, provider.ErrTampered), errors.Is(err, provider.ErrUnsupported):
		return fmt.Errorf("%w (the primary gave no answer: %v)", err, w.why.err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w; and the mirror: %v", w.why.err, err)
}

// key describes a version from its copy; 0 is the highest one.
func (w view) key(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	version, err := w.pick(ctx, kid, version)
	if err != nil {
		return provider.KeyRef{}, err
	}
	ref, err := w.m.copies.key(ctx, w.l, Version{kid, version})
	if err != nil {
		return provider.KeyRef{}, w.failed(err)
	}
	if err := w.admit(ref); err != nil {
		return provider.KeyRef{}, w.refused(err)
	}
	return w.finish(ref), nil
}

// jwk returns the public JWK of a version from its copy; 0 is the highest one.
func (w view) jwk(ctx context.Context, kid string, version int) (provider.JWK, error) {
	version, err := w.pick(ctx, kid, version)
	if err != nil {
		return provider.JWK{}, err
	}
	k, err := w.m.copies.jwk(ctx, w.l, Version{kid, version})
	if err != nil {
		return provider.JWK{}, w.failed(err)
	}
	if k, err = w.serve(k); err != nil {
		return provider.JWK{}, w.refused(err)
	}
	return k, nil
}

// refused is failed for a copy that was there and may not be served.
func (w view) refused(err error) error {
	if errors.Is(err, provider.ErrNotFound) {
		return err
	}
	return w.failed(err)
}

// pick returns the number of the highest version for version 0. If the ledger knows a higher one than the secondary holds,
// the highest version is out of reach, and an older one would be a wrong answer.
func (w view) pick(ctx context.Context, kid string, version int) (int, error) {
	if version != 0 {
		return version, nil
	}
	list, err := w.versions(ctx, kid)
	if err != nil {
		return 0, err
	}
	highest := list.Keys[len(list.Keys)-1].Version
	if known := w.l.latest(kid); known > highest && !w.why.answered {
		return 0, w.failed(fmt.Errorf("the latest version, %q, is not on it", provider.JWKKID(kid, known)))
	}
	return highest, nil
}

// versions describes every version of kid that the secondary may answer for.
func (w view) versions(ctx context.Context, kid string) (provider.KeyList, error) {
	if w.l.extinct(kid) {
		return provider.KeyList{}, provider.NotFound(kid, 0)
	}
	list, err := w.m.copies.versions(ctx, w.l, kid)
	if err != nil {
		return provider.KeyList{}, w.failed(err)
	}
	var refusal error
	list, refusal = w.sift(list)
	if len(list.Keys) == 0 {
		if refusal == nil {
			refusal = provider.NotFound(kid, 0)
		}
		return provider.KeyList{}, w.failed(refusal)
	}
	if known := w.l.latest(kid); known > list.Keys[len(list.Keys)-1].Version {
		list.Problems = append(list.Problems, fmt.Errorf("version %q is known and not on the mirror", provider.JWKKID(kid, known)))
	}
	return list, nil
}

// keys describes the highest version of every key that the secondary may answer for.
func (w view) keys(ctx context.Context) (provider.KeyList, error) {
	list, err := w.m.copies.keys(ctx, w.l)
	if err != nil {
		return provider.KeyList{}, w.failed(err)
	}
	all := provider.KeyList{Problems: list.Problems}
	for _, ref := range list.Keys {
		ref, problems := w.highest(ctx, ref)
		all.Problems = append(all.Problems, problems...)
		if ref.KID != "" {
			all.Keys = append(all.Keys, ref)
		}
	}
	if n := w.l.lacking(list.Keys); n > 0 {
		all.Problems = append(all.Problems, fmt.Errorf("%d keys of the primary are not on the mirror", n))
	}
	all, _ = w.sift(all)
	return all, nil
}

// highest returns ref, which describes the highest copy of its key, or the highest one that may be served; the zero KeyRef
// if there is none. A higher version that the mirror only knows of is a problem.
func (w view) highest(ctx context.Context, ref provider.KeyRef) (provider.KeyRef, []error) {
	if w.admit(ref) == nil && w.l.latest(ref.KID) <= ref.Version {
		return ref, nil
	}
	list, err := w.versions(ctx, ref.KID)
	switch {
	case err == nil:
		return list.Keys[len(list.Keys)-1], list.Problems
	case errors.Is(err, provider.ErrNotFound):
		return provider.KeyRef{}, nil
	}
	return provider.KeyRef{}, []error{err}
}

// sift returns list as it is served: without what admit refuses, which is reported as a problem unless it was destroyed.
// refusal is one of those problems.
func (w view) sift(list provider.KeyList) (sifted provider.KeyList, refusal error) {
	var versions []Version
	for _, ref := range list.Keys {
		err := w.admit(ref)
		if err == nil {
			sifted.Keys = append(sifted.Keys, w.finish(ref))
			versions = append(versions, nameOf(ref))
		} else if !errors.Is(err, provider.ErrNotFound) {
			refusal = err
			list.Problems = append(list.Problems, err)
		}
	}
	sifted.Problems = list.Problems
	sifted.Provenance = w.m.provenance(w.why, versions...)
	return sifted, refusal
}
