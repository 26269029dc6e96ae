package mirror

import (
	"context"
	"errors"

	"github.com/hsmmirror/hsmmirror/provider"
)

// GetKey implements [provider.Provider].
func (m *Mirror) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	if err := m.readyFor(ctx, kid, version); err != nil {
		return provider.KeyRef{}, err
	}
	ref, err := alive(ctx, m, kid, version, m.primary.GetKey, func(ref provider.KeyRef) provider.KeyRef { return ref })
	if err == nil {
		return ref, nil
	}
	w, err := m.instead(ctx, err)
	if err != nil {
		return provider.KeyRef{}, err
	}
	ref, _, err = afresh(ctx, w, func(w view) (provider.KeyRef, error) { return w.key(ctx, kid, version) })
	return ref, err
}

// PublicJWK implements [provider.Provider].
func (m *Mirror) PublicJWK(ctx context.Context, kid string, version int) (provider.JWK, error) {
	if err := m.readyFor(ctx, kid, version); err != nil {
		return provider.JWK{}, err
	}
	if k, ok := m.servedJWK(Version{kid, version}); ok {
		return k, nil
	}
	k, err := alive(ctx, m, kid, version, m.primary.PublicJWK, provider.JWK.Ref)
	if err == nil {
		return k, nil
	}
	w, err := m.instead(ctx, err)
	if err != nil {
		return provider.JWK{}, err
	}
	if k, w, err = afresh(ctx, w, func(w view) (provider.JWK, error) { return w.jwk(ctx, kid, version) }); err == nil {
		w.keepJWK(Version{kid, version}, k)
	}
	return k, err
}

// alive returns what get answers on the primary for a version, and confirms the version. If the primary's highest version
// was destroyed through the mirror, as on a token that was restored from a copy made before, the highest one that was not
// takes its place.
func alive[T any](ctx context.Context, m *Mirror, kid string, version int,
	get func(context.Context, string, int) (T, error), describe func(T) provider.KeyRef) (T, error) {
	v, err := ask(ctx, m, func(ctx context.Context) (T, error) { return get(ctx, kid, version) })
	if err != nil {
		return v, err
	}
	ref := describe(v)
	if !m.state.current().destroyed(ref.KID, ref.Version) {
		m.confirm(ref)
		return v, nil
	}
	list, err := m.primaryVersions(ctx, kid)
	if err != nil {
		return v, err
	}
	highest := list.Keys[len(list.Keys)-1].Version
	return ask(ctx, m, func(ctx context.Context) (T, error) { return get(ctx, kid, highest) })
}

// readyFor is ready for a read of one version. A version that was destroyed through the mirror is not found, whatever the
// stores say.
func (m *Mirror) readyFor(ctx context.Context, kid string, version int) error {
	if err := m.ready(ctx, provider.ValidateKID(kid), provider.ValidateVersion(version)); err != nil {
		return err
	}
	m.state.look(ctx, false)
	if m.state.current().destroyed(kid, version) {
		return provider.NotFound(kid, version)
	}
	return nil
}

// instead returns the view for an answer from the secondary to a read that the primary answered with err; err itself if
// the secondary is not to be asked.
func (m *Mirror) instead(ctx context.Context, err error) (view, error) {
	why := absence{err: err, answered: errors.Is(err, provider.ErrNotFound)}
	switch {
	case why.answered && m.cfg.servesOrphans():
		// A damaged state, like any failure of the secondary, does not change the answer of a primary that is there.
		// The ledger is looked at anew, so that a destroy which another process has just carried out shows in it.
		m.state.look(ctx, true)
		w, serr := m.look(ctx, why)
		if serr != nil {
			return view{}, err
		}
		return w, nil
	case provider.IsOutage(err) && m.cfg.failsOver():
		return m.look(ctx, why)
	}
	return view{}, err
}

// afresh returns what answer makes of w, and with which view. What is refused as damage may be what another process has changed since
// the files were looked at, or is changing, because readers take no lock: answer is then asked again with a new look, for as
// long as that tells something new, lookTries times at most.
func afresh[T any](ctx context.Context, w view, answer func(view) (T, error)) (T, view, error) {
	for try := 1; ; try++ {
		v, err := answer(w)
		if !errors.Is(err, provider.ErrTampered) || try == lookTries {
			return v, w, err
		}
		w.m.state.look(ctx, true)
		if w.m.state.current() == w.l {
			return v, w, err
		}
		next, lerr := w.m.look(ctx, w.why)
		if lerr != nil {
			return v, w, lerr
		}
		w = next
	}
}

const lookTries = 5
