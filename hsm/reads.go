package hsm

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// GetKey describes a version. It costs no call while what is known is of this connection and younger than
// Config.RefreshAfter.
func (t *Token) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	k, v, err := t.lookupVersion(ctx, kid, version)
	if err != nil {
		return provider.KeyRef{}, err
	}
	return k.ref(v, now()), nil
}

// ListKeys describes the highest version of every key that is ours.
func (t *Token) ListKeys(ctx context.Context) (provider.KeyList, error) {
	keys, problems, err := t.all(ctx)
	if err != nil {
		return provider.KeyList{}, err
	}
	at := now()
	list := provider.KeyList{Problems: problems, Provenance: provider.FromPrimary(at)}
	for _, k := range keys {
		if v := k.version(0); v != nil {
			list.Keys = append(list.Keys, k.ref(v, at))
		}
	}
	return list, nil
}

// ListVersions describes every version of a key.
func (t *Token) ListVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	k, _, err := t.lookupVersion(ctx, kid, 0)
	if err != nil {
		return provider.KeyList{}, err
	}
	at := now()
	list := provider.KeyList{Problems: k.errs(), Provenance: provider.FromPrimary(at)}
	for _, v := range k.versions {
		list.Keys = append(list.Keys, k.ref(v, at))
	}
	return list, nil
}

// PublicJWK returns the public JWK of a version. It costs what GetKey costs.
func (t *Token) PublicJWK(ctx context.Context, kid string, version int) (provider.JWK, error) {
	k, v, err := t.lookupVersion(ctx, kid, version)
	if err != nil {
		return provider.JWK{}, err
	}
	if v.public == nil {
		return provider.JWK{}, provider.Unsupportedf("public JWK of %q: a %s key is symmetric and has no public half", v.jwkKID(), v.Alg)
	}
	at := now()
	return v.published(k.states(at)[v.Version], at), nil
}

// JWKS returns the JWKs of the published versions. It costs what GetKey costs.
func (t *Token) JWKS(ctx context.Context, prefix string) (provider.JWKSet, error) {
	keys, _, err := t.all(ctx)
	if err != nil {
		return provider.JWKSet{}, err
	}
	at := now()
	var published []provider.JWK
	for _, k := range keys {
		if strings.HasPrefix(k.kid, prefix) {
			published = append(published, k.published(at)...)
		}
	}
	return provider.NewJWKSet(published, provider.FromPrimary(at)), nil
}

// published returns the JWKs of k that stand in a JWKS at the given time.
func (k *key) published(at time.Time) []provider.JWK {
	var jwks []provider.JWK
	states := k.states(at)
	for _, v := range k.versions {
		if state := states[v.Version]; v.public != nil && state.Published() {
			jwks = append(jwks, v.published(state, at))
		}
	}
	return jwks
}

// published returns the version's JWK as an answer at the given time.
func (v *version) published(state provider.State, at time.Time) provider.JWK {
	j := v.jwk
	j.State, j.Provenance = state, provider.FromPrimary(at)
	return j
}

// all returns what is known of every key, in ascending order of kid, and all problems.
func (t *Token) all(ctx context.Context) ([]*key, []error, error) {
	if err := t.begin(ctx); err != nil {
		return nil, nil, err
	}
	if err := t.current(ctx); err != nil {
		return nil, nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	problems := slices.Clone(t.idx.problems)
	keys := make([]*key, 0, len(t.idx.keys))
	for _, kid := range slices.Sorted(maps.Keys(t.idx.keys)) {
		k := t.idx.keys[kid]
		keys, problems = append(keys, k), append(problems, k.errs()...)
	}
	return keys, problems, nil
}

// KeyByURI describes the key whose objects an RFC 7512 URI names by its path attributes object (the label "<kid>.v<version>", the kid
// alone for the latest, or the label that the private key was given) or id (CKA_ID). ErrInvalid if several private keys have the label.
func (t *Token) KeyByURI(ctx context.Context, uri string) (provider.KeyRef, error) {
	u, err := parseURI(uri)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer u.PINValue.Wipe()
	if u.Object == nil && u.ID == nil {
		return provider.KeyRef{}, provider.Invalidf("PKCS#11 URI names no key: want object or id in its path, or kid in its query")
	}
	keys, _, err := t.all(ctx)
	if err != nil {
		return provider.KeyRef{}, err
	}
	var found []provider.KeyRef // by the label that it was given
	for _, k := range keys {
		for _, v := range slices.Backward(k.versions) {
			switch {
			case u.ID != nil && !bytes.Equal(u.ID, v.idBytes()):
			case u.Object == nil || *u.Object == k.kid || *u.Object == objectLabel(v.KID, v.Version):
				return k.ref(v, now()), nil
			case v.private != nil && *u.Object == v.private.label:
				found = append(found, k.ref(v, now()))
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return provider.KeyRef{}, fmt.Errorf("%w: no key of ours matches the PKCS#11 URI", provider.ErrNotFound)
	}
	return provider.KeyRef{}, provider.Invalidf("%d keys of ours have the label that the PKCS#11 URI names: want id in its path", len(found))
}
