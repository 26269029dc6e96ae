package softfile

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// Capabilities implements [provider.Provider].
func (s *Store) Capabilities(ctx context.Context) (provider.Capabilities, error) {
	if err := s.enter(ctx); err != nil {
		return provider.Capabilities{}, err
	}
	c := provider.Capabilities{Store: "softfile", Features: []provider.Feature{provider.FeaturePersistent, provider.FeatureReplica}}
	if s.vault != nil {
		c.Features = append(c.Features, provider.FeatureExport)
	}
	for _, alg := range provider.Algs() {
		support := provider.AlgSupport{Alg: alg, Missing: "the store was opened without a passphrase: public halves only"}
		if s.vault != nil {
			least, _, most := alg.Bits()
			support = provider.AlgSupport{Alg: alg, Create: true, Import: true, Use: true, MinBits: least, MaxBits: most}
		}
		c.Algs = append(c.Algs, support)
	}
	return c, nil
}

// GetKey implements [provider.Provider]. Version 0 is the highest version whose record can be read.
func (s *Store) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid), provider.ValidateVersion(version)); err != nil {
		return provider.KeyRef{}, err
	}
	e, v, err := s.find(ctx, kid, version)
	if err != nil {
		return provider.KeyRef{}, err
	}
	now := time.Now()
	return s.describe(v, e.state(now, v), now), nil
}

// ListKeys implements [provider.Provider].
func (s *Store) ListKeys(ctx context.Context) (provider.KeyList, error) {
	if err := s.enter(ctx); err != nil {
		return provider.KeyList{}, err
	}
	if err := s.index.refresh(ctx); err != nil {
		return provider.KeyList{}, err
	}
	now := time.Now()
	entries, problems, _ := s.index.all(func(string) bool { return true })
	list := provider.KeyList{Problems: problems, Provenance: provider.FromPrimary(now)}
	for _, e := range entries {
		list.Problems = append(list.Problems, e.errors()...)
		if v, err := e.version(e.kid, 0); err == nil {
			list.Keys = append(list.Keys, s.describe(v, e.state(now, v), now))
		}
	}
	return list, nil
}

// ListVersions implements [provider.Provider]. It returns the error of a record if no record of the key can be read.
func (s *Store) ListVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid)); err != nil {
		return provider.KeyList{}, err
	}
	e, _, err := s.find(ctx, kid, 0)
	if err != nil {
		return provider.KeyList{}, err
	}
	now := time.Now()
	list := provider.KeyList{Problems: e.errors(), Provenance: provider.FromPrimary(now)}
	e.states(now, func(v *version, state provider.State) {
		list.Keys = append(list.Keys, s.describe(v, state, now))
	})
	return list, nil
}

// PublicJWK implements [provider.Provider].
func (s *Store) PublicJWK(ctx context.Context, kid string, version int) (provider.JWK, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid), provider.ValidateVersion(version)); err != nil {
		return provider.JWK{}, err
	}
	e, v, err := s.find(ctx, kid, version)
	if err != nil {
		return provider.JWK{}, err
	}
	now := time.Now()
	return s.publicJWK(v, e.state(now, v), now)
}

// RandomBytes implements [provider.Provider] with the random number generator of the operating system.
func (s *Store) RandomBytes(ctx context.Context, n int) ([]byte, error) {
	if err := s.enter(ctx, provider.ValidateRandom(n)); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b, nil
}

// HKDF implements [provider.Provider].
func (s *Store) HKDF(ctx context.Context, ikm, salt, info []byte, length int) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	return provider.HKDFSHA256(ikm, salt, info, length)
}

// Health implements [provider.Checking]. It looks at the directory at once, and at the store key if Open was given a
// passphrase. Damaged records are no matter of it, nor is whether the directory can be written: a store may be there to
// be read.
func (s *Store) Health(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if err := s.index.recheck(ctx); err != nil {
		return err
	}
	if s.vault == nil {
		return nil
	}
	return s.readDir(s.vault.verify)
}

// find returns a version and its key. What is not there in memory is looked for in the directory before it is denied, so
// that what another process made is found at once.
func (s *Store) find(ctx context.Context, kid string, number int) (*entry, *version, error) {
	if err := s.index.refresh(ctx); err != nil {
		return nil, nil, err
	}
	e := s.index.entry(kid)
	v, err := e.version(kid, number)
	if err != nil {
		err = s.readDir(func(dir *fileops.Dir) (err error) {
			e, err = s.index.reload(ctx, dir, kid, false)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		v, err = e.version(kid, number)
	}
	return e, v, err
}

// describe returns the answer that describes a version.
func (s *Store) describe(v *version, state provider.State, now time.Time) provider.KeyRef {
	r := v.rec
	return provider.KeyRef{
		KID: r.KID, Version: r.Version, Alg: r.Alg, Bits: r.Bits, Uses: slices.Clone(r.Uses), Export: r.Export,
		Label: r.Label, Tags: maps.Clone(r.Tags),
		Created: r.Created, ActiveFrom: r.ActiveFrom, RetireAfter: time.Duration(r.RetireAfter), State: state,
		Fingerprint: r.Fingerprint, Imported: r.Imported, Private: r.Private != "" && s.vault != nil,
		Provenance: provider.FromPrimary(now),
	}
}

// publicJWK returns the public JWK of a version, which is made once for each state that the version comes to.
func (s *Store) publicJWK(v *version, state provider.State, now time.Time) (provider.JWK, error) {
	if made := v.jwk.Load(); made != nil && made.state == state {
		k := made.jwk
		k.Provenance = provider.FromPrimary(now)
		return k, nil
	}
	k, err := provider.NewJWK(s.describe(v, state, now), v.public)
	if err == nil {
		v.jwk.Store(&madeJWK{k, state})
	}
	return k, err
}
