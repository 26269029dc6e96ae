package softfile

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// object is what every signer, decrypter and cipher of a store is made of: one version with its decrypted key. The key
// stays in memory for as long as the object does; every use first asks the store whether the version is still there.
type object struct {
	store  *Store
	ref    provider.KeyRef
	public crypto.PublicKey
	// key is behind a function because fmt shows what is behind a pointer, for some verbs.
	key func() provider.ParsedMaterial
}

// Format prints the names of the store and the key, whatever the verb: fmt would go on into the Store, which changes meanwhile.
func (o *object) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%v key %q", o.store, o.ref.JWKKID())
}

// KeyRef describes the version as it was when the object was made.
func (o *object) KeyRef() provider.KeyRef { return o.ref.Clone() }

// Public returns the public half. It is shared: do not change it.
func (o *object) Public() crypto.PublicKey { return o.public }

// job is what a key is asked to do.
type job struct {
	name string
	fits func(provider.KeyAlg) bool
	uses []provider.KeyUse // one of them must be among the key's
}

func only(alg provider.KeyAlg) func(provider.KeyAlg) bool {
	return func(a provider.KeyAlg) bool { return a == alg }
}

// object returns a version, with its key decrypted, for a job.
func (s *Store) object(ctx context.Context, j job, kid string, number int) (*object, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid), provider.ValidateVersion(number)); err != nil {
		return nil, err
	}
	e, v, err := s.find(ctx, kid, number)
	if err != nil {
		return nil, err
	}
	return s.objectOf(e, v, j)
}

func (s *Store) objectOf(e *entry, v *version, j job) (*object, error) {
	name := v.rec.jwkKID()
	switch {
	case !j.fits(v.rec.Alg):
		return nil, provider.Unsupportedf("%s with %q: not for a key for %s", j.name, name, v.rec.Alg)
	case v.rec.Private == "":
		return nil, provider.Unsupportedf("%s with %q: its private half is not here", j.name, name)
	case !slices.ContainsFunc(j.uses, func(u provider.KeyUse) bool { return slices.Contains(v.rec.Uses, u) }):
		return nil, errUse(v.rec, j.uses[0])
	case s.vault == nil:
		return nil, errLocked(fmt.Sprintf("%s with %q", j.name, name))
	}
	key, err := s.vault.open(v)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &object{s, s.describe(v, e.state(now, v), now), v.public, func() provider.ParsedMaterial { return key }}, nil
}

// may returns nil if the version is still there and may be put to the use.
func (o *object) may(ctx context.Context, use provider.KeyUse) error {
	if err := o.store.enter(ctx); err != nil {
		return err
	}
	_, v, err := o.store.find(ctx, o.ref.KID, o.ref.Version)
	if err != nil {
		return err
	}
	if !slices.Contains(v.rec.Uses, use) {
		return errUse(v.rec, use)
	}
	return nil
}

func errUse(r *record, use provider.KeyUse) error {
	return provider.Invalidf("key %q is for %v: want %s among its uses", r.jwkKID(), r.Uses, use)
}
