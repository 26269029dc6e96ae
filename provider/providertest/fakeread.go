package providertest

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Capabilities implements [provider.Provider].
func (f *Fake) Capabilities(ctx context.Context) (provider.Capabilities, error) {
	return call(ctx, f, "Capabilities", func(s *fakeStore) (provider.Capabilities, error) {
		c := provider.Capabilities{Store: "fake", Features: []provider.Feature{provider.FeatureExport, provider.FeatureReplica}}
		for _, alg := range provider.Algs() {
			support := provider.AlgSupport{Alg: alg, Missing: "the fake was told to lack it"}
			if !s.lacking(alg) {
				least, _, most := alg.Bits()
				support = provider.AlgSupport{Alg: alg, Create: true, Import: true, Use: true, MinBits: least, MaxBits: most}
			}
			c.Algs = append(c.Algs, support)
		}
		return c, nil
	})
}

// GetKey implements [provider.Provider].
func (f *Fake) GetKey(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
	return call(ctx, f, "GetKey", func(s *fakeStore) (provider.KeyRef, error) {
		_, ref, err := s.find(kid, version)
		return ref, err
	}, provider.ValidateKID(kid), provider.ValidateVersion(version))
}

// KeyByURI implements [provider.Resolving] for the URIs that [Fake.URI] makes.
func (f *Fake) KeyByURI(ctx context.Context, uri string) (provider.KeyRef, error) {
	name, ours := strings.CutPrefix(uri, "fake:")
	kid, version, ok := provider.SplitJWKKID(name)
	var invalid error
	if !ours || !ok {
		invalid = provider.Invalidf("URI names no key of a fake: want fake:KID.VERSION")
	}
	return call(ctx, f, "KeyByURI", func(s *fakeStore) (provider.KeyRef, error) {
		_, ref, err := s.find(kid, version)
		return ref, err
	}, invalid)
}

// URI returns the URI of the version that ref describes.
func (f *Fake) URI(ref provider.KeyRef) string { return "fake:" + ref.JWKKID() }

// ListKeys implements [provider.Provider].
func (f *Fake) ListKeys(ctx context.Context) (provider.KeyList, error) {
	return call(ctx, f, "ListKeys", func(s *fakeStore) (provider.KeyList, error) {
		now := time.Now()
		list := provider.KeyList{Provenance: provider.FromPrimary(now)}
		for _, kid := range slices.Sorted(maps.Keys(s.keys)) {
			if _, refs := s.keys[kid].live(now); len(refs) > 0 {
				list.Keys = append(list.Keys, refs[len(refs)-1])
			}
		}
		return list, nil
	})
}

// ListVersions implements [provider.Provider].
func (f *Fake) ListVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	return call(ctx, f, "ListVersions", func(s *fakeStore) (provider.KeyList, error) {
		now := time.Now()
		_, refs := s.keys[kid].live(now)
		if len(refs) == 0 {
			return provider.KeyList{}, provider.NotFound(kid, 0)
		}
		return provider.KeyList{Keys: refs, Provenance: provider.FromPrimary(now)}, nil
	}, provider.ValidateKID(kid))
}

// PublicJWK implements [provider.Provider].
func (f *Fake) PublicJWK(ctx context.Context, kid string, version int) (provider.JWK, error) {
	return call(ctx, f, "PublicJWK", func(s *fakeStore) (provider.JWK, error) {
		v, ref, err := s.find(kid, version)
		if err != nil {
			return provider.JWK{}, err
		}
		return provider.NewJWK(ref, v.key.Public)
	}, provider.ValidateKID(kid), provider.ValidateVersion(version))
}

// JWKS implements [provider.Provider].
func (f *Fake) JWKS(ctx context.Context, prefix string) (provider.JWKSet, error) {
	return call(ctx, f, "JWKS", func(s *fakeStore) (provider.JWKSet, error) {
		now := time.Now()
		var keys []provider.JWK
		for kid, k := range s.keys {
			if !strings.HasPrefix(kid, prefix) {
				continue
			}
			versions, refs := k.live(now)
			for i, ref := range refs {
				if ref.Alg.Class() == provider.Symmetric || !ref.State.Published() {
					continue
				}
				key, err := provider.NewJWK(ref, versions[i].key.Public)
				if err != nil {
					return provider.JWKSet{}, err
				}
				keys = append(keys, key)
			}
		}
		return provider.NewJWKSet(keys, provider.FromPrimary(now)), nil
	})
}

// RandomBytes implements [provider.Provider].
func (f *Fake) RandomBytes(ctx context.Context, n int) ([]byte, error) {
	return call(ctx, f, "RandomBytes", func(*fakeStore) ([]byte, error) {
		b := make([]byte, n)
		rand.Read(b)
		return b, nil
	}, provider.ValidateRandom(n))
}

// HKDF implements [provider.Provider].
func (f *Fake) HKDF(ctx context.Context, ikm, salt, info []byte, length int) ([]byte, error) {
	out, invalid := provider.HKDFSHA256(ikm, salt, info, length)
	return call(ctx, f, "HKDF", func(*fakeStore) ([]byte, error) { return out, nil }, invalid)
}

// Health implements [provider.Checking].
func (f *Fake) Health(ctx context.Context) error {
	_, err := call(ctx, f, "Health", func(*fakeStore) (struct{}, error) { return struct{}{}, nil })
	return err
}
