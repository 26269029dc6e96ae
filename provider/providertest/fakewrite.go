package providertest

import (
	"cmp"
	"context"
	"crypto/subtle"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// CreateKey implements [provider.Provider].
func (f *Fake) CreateKey(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
	spec, invalid := spec.Normalize()
	return call(ctx, f, "CreateKey", func(s *fakeStore) (provider.KeyRef, error) {
		if err := s.free(spec.KID); err != nil {
			return provider.KeyRef{}, err
		}
		return s.generate(spec, provider.Windows{})
	}, invalid)
}

// ImportKey implements [provider.Provider].
func (f *Fake) ImportKey(ctx context.Context, spec provider.KeySpec, material provider.KeyMaterial) (provider.KeyRef, error) {
	bits := spec.Bits
	spec, invalid := spec.Normalize()
	key, unfit := material.Parse(spec.Alg, bits)
	return call(ctx, f, "ImportKey", func(s *fakeStore) (provider.KeyRef, error) {
		if err := s.free(spec.KID); err != nil {
			return provider.KeyRef{}, err
		}
		private := key.Private != nil || !key.Symmetric.Empty()
		if private && s.lacking(spec.Alg) {
			return provider.KeyRef{}, lacks(spec.Alg)
		}
		return s.add(spec, key, provider.Windows{}, true)
	}, invalid, unfit)
}

// RotateKey implements [provider.Provider].
func (f *Fake) RotateKey(ctx context.Context, kid string, r provider.Rotation) (provider.KeyRef, error) {
	return call(ctx, f, "RotateKey", func(s *fakeStore) (provider.KeyRef, error) {
		_, latest, err := s.find(kid, 0)
		if err != nil {
			return provider.KeyRef{}, err
		}
		spec, windows, err := r.Normalize(latest)
		if err != nil {
			return provider.KeyRef{}, err
		}
		if !latest.Private {
			return provider.KeyRef{}, provider.Unsupportedf("rotate %q: its private half is not here", kid)
		}
		return s.generate(spec, windows)
	}, provider.ValidateKID(kid))
}

// DestroyKey implements [provider.Provider].
func (f *Fake) DestroyKey(ctx context.Context, kid string, version int) (provider.Destruction, error) {
	return call(ctx, f, "DestroyKey", func(s *fakeStore) (provider.Destruction, error) {
		now := time.Now()
		d := provider.Destruction{KID: kid}
		versions, _ := s.keys[kid].live(now)
		for _, v := range versions {
			if version == provider.AllVersions || v.ref.Version == version {
				v.destroy(now)
				d.Versions = append(d.Versions, v.ref.Version)
			}
		}
		if len(d.Versions) == 0 {
			return d, provider.NotFound(kid, max(version, 0))
		}
		return d, nil
	}, provider.ValidateKID(kid), validateDestroy(version))
}

// PutVersion implements [provider.Replica].
func (f *Fake) PutVersion(ctx context.Context, ref provider.KeyRef, material provider.KeyMaterial) (provider.KeyRef, error) {
	key, unfit := material.Parse(ref.Alg, ref.Bits)
	return call(ctx, f, "PutVersion", func(s *fakeStore) (provider.KeyRef, error) {
		v := &fakeVersion{ref: copyRef(ref), key: key}
		if err := v.describeKey(); err != nil {
			return provider.KeyRef{}, err
		}
		if ref.Fingerprint != v.ref.Fingerprint {
			return provider.KeyRef{}, provider.Invalidf("material of %q version %d: not the key of the given fingerprint", ref.KID, ref.Version)
		}
		if err := s.put(v); err != nil {
			return provider.KeyRef{}, err
		}
		_, stored, err := s.find(ref.KID, ref.Version)
		return stored, err
	}, validateReplica(ref), unfit)
}

func (s *fakeStore) generate(spec provider.KeySpec, w provider.Windows) (provider.KeyRef, error) {
	if s.lacking(spec.Alg) {
		return provider.KeyRef{}, lacks(spec.Alg)
	}
	key, err := generate(spec)
	if err != nil {
		return provider.KeyRef{}, err
	}
	return s.add(spec, key, w, false)
}

// free returns ErrExists if the kid has a version.
func (s *fakeStore) free(kid string) error {
	if versions, _ := s.keys[kid].live(time.Now()); len(versions) > 0 {
		return provider.Exists(kid, 0)
	}
	return nil
}

// put stores a copy, or brings the copy that is there up to date. A private half that is there stays.
func (s *fakeStore) put(v *fakeVersion) error {
	k := s.keys[v.ref.KID]
	if k == nil {
		k = &fakeKey{}
		s.keys[v.ref.KID] = k
	}
	i, found := slices.BinarySearchFunc(k.versions, v.ref.Version, func(v *fakeVersion, n int) int { return cmp.Compare(v.ref.Version, n) })
	if !found {
		k.versions = slices.Insert(k.versions, i, v)
		return nil
	}
	there := k.versions[i]
	if there.destroyed || there.ref.Alg != v.ref.Alg || !sameKey(there, v) {
		return provider.Exists(v.ref.KID, v.ref.Version)
	}
	if !v.ref.Private {
		v.key, v.ref.Private = there.key, there.ref.Private
	}
	k.versions[i] = v
	return nil
}

func sameKey(a, b *fakeVersion) bool {
	return a.ref.Fingerprint == b.ref.Fingerprint &&
		subtle.ConstantTimeCompare(a.key.Symmetric.Expose(), b.key.Symmetric.Expose()) == 1
}

// copyRef returns what a replica keeps of ref.
func copyRef(ref provider.KeyRef) provider.KeyRef {
	ref = ref.Clone()
	ref.ActiveFrom, ref.Created = ref.ActiveFrom.UTC(), ref.Created.UTC()
	ref.Evidence, ref.Mirroring, ref.Fingerprint = nil, nil, ""
	return ref
}

func validateReplica(ref provider.KeyRef) error {
	if err := provider.ValidateKID(ref.KID); err != nil {
		return err
	}
	if ref.Version < 1 {
		return provider.Invalidf("version %d of a copy: want 1 or more", ref.Version)
	}
	_, err := ref.Spec().Normalize()
	return err
}

func validateDestroy(version int) error {
	if version == 0 || version < provider.AllVersions {
		return provider.Invalidf("destroy version %d: want 1 or more, or AllVersions", version)
	}
	return nil
}
