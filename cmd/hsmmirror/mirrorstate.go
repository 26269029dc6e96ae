package main

import (
	"context"
	"errors"

	"github.com/hsmmirror/hsmmirror/provider"
)

// The states of a version in the mirror.
const (
	mirrorHeld      = "held"       // the keystore holds the same key
	mirrorMissing   = "missing"    // the keystore should hold it
	mirrorNotCopied = "not copied" // the mode copies no symmetric key
	mirrorReplaced  = "replaced"   // the keystore holds another key under the name
	mirrorDamaged   = "damaged"    // the keystore holds it and can't read it
)

// mirrorStates says how the mirror holds versions. Its zero value says nothing: there is no mirror.
type mirrorStates struct {
	app       *app
	secondary provider.Provider
}

// openMirrorStates opens the keystore of the mirror that the options name, if they name one. The caller closes it.
func (a *app) openMirrorStates(ctx context.Context) mirrorStates {
	if !a.options.hasPrimary() || a.options.store == "" {
		return mirrorStates{}
	}
	p, err := a.openKeystore(ctx)
	if err != nil {
		a.notes.degrade("the mirror's keystore can't be looked at: %v", err)
		return mirrorStates{}
	}
	return mirrorStates{a, p}
}

func (m mirrorStates) close() {
	if m.secondary != nil {
		m.app.close(m.secondary)
	}
}

// of returns the state of a version; empty if there is no mirror.
func (m mirrorStates) of(ctx context.Context, ref provider.KeyRef) string {
	if m.secondary == nil {
		return ""
	}
	twin, err := m.secondary.GetKey(ctx, ref.KID, ref.Version)
	switch {
	case errors.Is(err, provider.ErrNotFound) && ref.Alg.Class() == provider.Symmetric && !m.app.copiesSecret(ref):
		return mirrorNotCopied
	case errors.Is(err, provider.ErrNotFound):
		return mirrorMissing
	case err != nil:
		return mirrorDamaged
	case twin.Fingerprint != ref.Fingerprint || twin.Alg != ref.Alg:
		return mirrorReplaced
	}
	return mirrorHeld
}
