package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// CreateKey implements [provider.Provider].
func (m *Mirror) CreateKey(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
	spec, err := named(spec)
	return m.write(ctx, spec.KID, func() (provider.KeyRef, error) { return m.primary.CreateKey(ctx, spec) }, err)
}

// ImportKey implements [provider.Provider].
func (m *Mirror) ImportKey(ctx context.Context, spec provider.KeySpec, material provider.KeyMaterial) (provider.KeyRef, error) {
	spec, err := named(spec)
	return m.write(ctx, spec.KID, func() (provider.KeyRef, error) { return m.primary.ImportKey(ctx, spec, material) }, err)
}

// RotateKey implements [provider.Provider]. Config.Windows stands in for windows that r does not name; windows that would
// break Config.Verifiers are [provider.ErrInvalid], those of a rotation that takes effect now excepted.
func (m *Mirror) RotateKey(ctx context.Context, kid string, r provider.Rotation) (provider.KeyRef, error) {
	if r.Windows == nil {
		r.Windows = m.cfg.Windows
	}
	return m.write(ctx, kid, func() (provider.KeyRef, error) { return m.primary.RotateKey(ctx, kid, r) },
		errors.Join(provider.ValidateKID(kid), checkReserved(kid), m.cfg.Verifiers.allow(r)))
}

// PutVersion implements [provider.Replica]: the primary keeps the copy, and the mirror mirrors it, so that a Mirror can be
// the secondary of another. [provider.ErrUnsupported] if the primary is no replica.
func (m *Mirror) PutVersion(ctx context.Context, ref provider.KeyRef, material provider.KeyMaterial) (provider.KeyRef, error) {
	invalid := errors.Join(provider.ValidateKID(ref.KID), checkReserved(ref.KID))
	r, ok := m.primary.(provider.Replica)
	if !ok && invalid == nil {
		invalid = lacking("keep copies under the name of their origin")
	}
	return m.write(ctx, ref.KID, func() (provider.KeyRef, error) { return r.PutVersion(ctx, ref, material) }, invalid)
}

// named checks spec and gives it a kid, under which the write can be serialised. It fills in no other default: an import
// takes its size from the material.
func named(spec provider.KeySpec) (provider.KeySpec, error) {
	whole, err := spec.Normalize()
	spec.KID = whole.KID
	if err == nil {
		err = checkReserved(spec.KID)
	}
	return spec, err
}

// checkReserved returns [provider.ErrInvalid] for the kid of the key that signs the manifest.
func checkReserved(kid string) error {
	if kid == ManifestKID {
		return provider.Invalidf("kid %q: it is reserved for the key that signs the manifest", kid)
	}
	return nil
}

// write makes a change on the primary and then mirrors it. The primary's error is the caller's, and leaves the secondary
// alone. What the primary has made stands: the caller's context no longer counts then, and the answer says what became of
// it on the secondary. invalid is the result of checking the arguments.
func (m *Mirror) write(ctx context.Context, kid string, change func() (provider.KeyRef, error), invalid error) (provider.KeyRef, error) {
	if err := m.ready(ctx, invalid); err != nil {
		return provider.KeyRef{}, err
	}
	unlock, err := m.kids.lock(ctx, kid)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer unlock()
	start := time.Now()
	ref, err := change()
	if err = m.heard(ctx, start, err); err != nil {
		if unanswered(err) {
			m.keeper.want(m.repair, time.Now().Add(minProbeInterval)) // the primary may have made it
		}
		return provider.KeyRef{}, err
	}
	mirroring := m.mirror(context.WithoutCancel(ctx), ref)
	if inner := ref.Mirroring; inner != nil && !inner.Mirrored { // the primary is a mirror too
		mirroring.Mirrored = false
		mirroring.Reason = strings.TrimSuffix("primary: "+inner.Reason+"; "+mirroring.Reason, "; ")
	}
	ref.Mirroring = &mirroring
	return ref, nil
}

// mirror copies a version that the primary has just made, as far as the mode says, and notes it in the ledger. The caller
// holds the kid's lock.
func (m *Mirror) mirror(ctx context.Context, ref provider.KeyRef) provider.Mirroring {
	if !m.copying.enter() {
		return provider.Mirroring{Reason: "the mirror was closed meanwhile"}
	}
	defer m.copying.leave()
	if m.state.current().destroyed(ref.KID, ref.Version) {
		return provider.Mirroring{Reason: fmt.Sprintf("the primary gave the number of %q, which was destroyed, to another key: it is not served", ref.JWKKID())}
	}
	mirroring, t := m.copy(ctx, ref)
	limited, cancel := context.WithTimeout(ctx, m.cfg.SecondaryTimeout)
	defer cancel()
	err := m.state.note(limited, func(l *ledger) { l.vouch(t) })
	switch {
	case err != nil:
		mirroring.Mirrored = mirroring.Mirrored && t.at == nil && m.state.notary == nil
		mirroring.Reason = fmt.Sprintf("not noted in the state: %v", err)
	case m.state.current().destroyed(ref.KID, ref.Version):
		mirroring = provider.Mirroring{Reason: "destroyed meanwhile by another process"}
	default:
		if err := m.state.unsigned(); err != nil && mirroring.Mirrored {
			mirroring.Mirrored, mirroring.Reason = false, err.Error()
		}
	}
	m.wrote(nameOf(ref), mirroring)
	return mirroring
}

// wrote notes what became of a copy.
func (m *Mirror) wrote(v Version, mirroring provider.Mirroring) {
	m.found.copied(v, mirroring)
	m.carried(v, mirroring.Mirrored, mirroring.Reason)
}

// carried logs the first change that does not reach the secondary and the first one that does again, and sees to the repair.
func (m *Mirror) carried(v Version, done bool, reason string) {
	changed := m.found.carried(done)
	switch {
	case done && changed:
		m.log.Info("mirror writes work again", "key", v.String())
		m.keeper.want(m.repair, time.Now())
	case !done && changed:
		m.log.Warn("mirror write failed", "key", v.String(), "cause", reason)
	}
	if !done {
		m.keeper.want(m.repair, time.Now().Add(minProbeInterval))
	}
}

// copy puts a copy of the version that ref describes onto the secondary. It returns what is to be noted of the version.
func (m *Mirror) copy(ctx context.Context, ref provider.KeyRef) (provider.Mirroring, testimony) {
	t := testimony{ref: ref, when: time.Now(), copy: missing}
	if m.cfg.Mode == None {
		t.copy = asBefore
		return provider.Mirroring{Mirrored: true, Reason: "mode none: nothing is copied"}, t
	}
	c, err := m.collect(ctx, ref)
	if err != nil {
		return provider.Mirroring{Reason: err.Error()}, t
	}
	defer c.material.Private.Wipe()
	t.jwk = c.jwk
	if c.material.Private.Empty() && len(c.material.Public) == 0 {
		return provider.Mirroring{Mirrored: c.complete, Reason: c.reason}, t
	}
	limited, cancel := m.copies.budget(ctx)
	defer cancel()
	stored, at, err := m.copies.put(limited, ref, c.material)
	if !c.material.Private.Empty() && (errors.Is(err, provider.ErrUnsupported) || errors.Is(err, provider.ErrAuth)) {
		c.complete, c.reason = false, fmt.Sprintf("private half: %v", err)
		c.material.Private.Wipe()
		if len(c.material.Public) > 0 {
			stored, at, err = m.copies.put(limited, ref, c.material)
		}
	}
	switch {
	case err != nil:
		return provider.Mirroring{Reason: err.Error()}, t
	case stored.Fingerprint != ref.Fingerprint:
		return provider.Mirroring{Reason: fmt.Sprintf("secondary stored a key with the thumbprint %q: want %q", stored.Fingerprint, ref.Fingerprint)}, t
	}
	t.copy, t.at = carried, at
	return provider.Mirroring{Mirrored: c.complete, Private: !c.material.Private.Empty(), Reason: c.reason}, t
}
