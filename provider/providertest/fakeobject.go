package providertest

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// fakeObject is one version as an object holds it: by name, so that a destroy reaches the object too.
type fakeObject struct {
	fake   *Fake
	ref    provider.KeyRef
	public crypto.PublicKey
}

// KeyRef describes the version.
func (o *fakeObject) KeyRef() provider.KeyRef { return o.ref.Clone() }

// Public returns the public half.
func (o *fakeObject) Public() crypto.PublicKey { return o.public }

type operation func(key provider.ParsedMaterial) ([]byte, error)

// use runs do with the key, if it is still there and may be put to the use.
func (o *fakeObject) use(ctx context.Context, method string, use provider.KeyUse, do operation) ([]byte, error) {
	return call(ctx, o.fake, method, func(s *fakeStore) ([]byte, error) {
		v, ref, err := s.find(o.ref.KID, o.ref.Version)
		if err != nil {
			return nil, err
		}
		if !ref.Allows(use) {
			return nil, notAllowed(ref, use)
		}
		return do(v.key)
	})
}

// job is what an object is asked for: a key whose algorithm fits, and one of whose uses is among uses.
type job struct {
	method string
	fits   func(provider.KeyAlg) bool
	uses   []provider.KeyUse
}

// object returns a version of a key for the job.
func (f *Fake) object(ctx context.Context, j job, kid string, version int) (*fakeObject, error) {
	return call(ctx, f, j.method, func(s *fakeStore) (*fakeObject, error) {
		v, ref, err := s.pick(j, kid, version)
		if err != nil {
			return nil, err
		}
		return &fakeObject{f, ref, v.key.Public}, nil
	}, provider.ValidateKID(kid), provider.ValidateVersion(version))
}

// pick finds a version that can do the job.
func (s *fakeStore) pick(j job, kid string, version int) (*fakeVersion, provider.KeyRef, error) {
	v, ref, err := s.find(kid, version)
	switch {
	case err != nil:
		return nil, ref, err
	case !j.fits(ref.Alg):
		return nil, ref, provider.Unsupportedf("%s with %q: not for a %s key", j.method, ref.JWKKID(), ref.Alg)
	case !ref.Private:
		return nil, ref, provider.Unsupportedf("%s with %q: its private half is not here", j.method, ref.JWKKID())
	case s.lacking(ref.Alg):
		return nil, ref, lacks(ref.Alg)
	case !slices.ContainsFunc(j.uses, ref.Allows):
		return nil, ref, notAllowed(ref, j.uses[0])
	}
	return v, ref, nil
}

// active returns the version of kid that signs.
func (s *fakeStore) active(kid string) (int, error) {
	_, refs := s.keys[kid].live(time.Now())
	for _, ref := range refs {
		if ref.State == provider.Active {
			return ref.Version, nil
		}
	}
	if len(refs) > 0 {
		return 0, fmt.Errorf("%w: %q has no active version", provider.ErrNotFound, kid)
	}
	return 0, provider.NotFound(kid, 0)
}

func notAllowed(ref provider.KeyRef, use provider.KeyUse) error {
	return provider.Invalidf("key %q is for %v: want %s among its uses", ref.JWKKID(), ref.Uses, use)
}

func only(alg provider.KeyAlg) func(provider.KeyAlg) bool {
	return func(a provider.KeyAlg) bool { return a == alg }
}
