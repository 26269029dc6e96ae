package providertest

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"sync"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// fakeStore holds the keys. Its methods are called with mu locked.
type fakeStore struct {
	mu     sync.Mutex
	keys   map[string]*fakeKey // a key whose versions are all destroyed stays, for its numbers
	lacks  []provider.KeyAlg
	faults *faults
}

// fakeKey holds the versions of a kid in ascending order, the destroyed ones too.
type fakeKey struct{ versions []*fakeVersion }

type fakeVersion struct {
	ref       provider.KeyRef         // State and Provenance are filled in by refs
	key       provider.ParsedMaterial // empty once destroyed
	label     string                  // of its objects; empty: the JWK's kid
	destroyed bool
	// lapsed tells that the version was destroyed before its schedule began, so that it supersedes nothing.
	lapsed bool
}

// next returns the number of the version to come.
func (k *fakeKey) next() int {
	if len(k.versions) == 0 {
		return 1
	}
	return k.versions[len(k.versions)-1].ref.Version + 1
}

// live returns the versions that are there, each with the answer that describes it now.
func (k *fakeKey) live(now time.Time) (versions []*fakeVersion, refs []provider.KeyRef) {
	if k == nil {
		return nil, nil
	}
	counted := slices.DeleteFunc(slices.Clone(k.versions), func(v *fakeVersion) bool { return v.lapsed })
	schedules := make([]provider.Schedule, len(counted))
	for i, v := range counted {
		schedules[i] = v.ref.Schedule()
		schedules[i].Destroyed = v.destroyed
	}
	for i, state := range provider.States(now, schedules) {
		if state == provider.Destroyed {
			continue
		}
		ref := counted[i].ref.Clone()
		ref.State, ref.Provenance = state, provider.FromPrimary(now)
		versions, refs = append(versions, counted[i]), append(refs, ref)
	}
	return versions, refs
}

// find returns a version, 0 being the highest one.
func (s *fakeStore) find(kid string, version int) (*fakeVersion, provider.KeyRef, error) {
	versions, refs := s.keys[kid].live(time.Now())
	for i := len(refs) - 1; i >= 0; i-- {
		if version == 0 || refs[i].Version == version {
			return versions[i], refs[i], nil
		}
	}
	return nil, provider.KeyRef{}, provider.NotFound(kid, version)
}

// add puts a new version at the end of the kid's versions. spec is normalised.
func (s *fakeStore) add(spec provider.KeySpec, key provider.ParsedMaterial, w provider.Windows, imported bool) (provider.KeyRef, error) {
	k := s.keys[spec.KID]
	if k == nil {
		k = &fakeKey{}
		s.keys[spec.KID] = k
	}
	created := time.Now().UTC().Truncate(time.Second)
	v := &fakeVersion{key: key, ref: provider.KeyRef{
		KID: spec.KID, Version: k.next(), Alg: spec.Alg, Bits: key.Bits, Uses: spec.Uses, Export: spec.Export, Label: spec.Label,
		Tags: spec.Tags, Created: created, ActiveFrom: created.Add(w.PublishBefore), RetireAfter: w.RetireAfter, Imported: imported,
	}}
	if err := v.describeKey(); err != nil {
		return provider.KeyRef{}, err
	}
	k.versions = append(k.versions, v)
	_, ref, err := s.find(spec.KID, v.ref.Version)
	return ref, err
}

// describeKey fills in what follows from the key itself.
func (v *fakeVersion) describeKey() (err error) {
	v.ref.Private = v.key.Private != nil || !v.key.Symmetric.Empty()
	if v.key.Public != nil {
		v.ref.Fingerprint, err = provider.Thumbprint(v.key.Public)
	}
	return err
}

func (v *fakeVersion) destroy(now time.Time) {
	v.key.Symmetric.Wipe()
	v.key, v.destroyed, v.lapsed = provider.ParsedMaterial{}, true, now.Before(v.ref.ActiveFrom)
}

// generate makes a key of the spec, which is normalised.
func generate(spec provider.KeySpec) (provider.ParsedMaterial, error) {
	if spec.Alg.Class() == provider.Symmetric {
		b := make([]byte, spec.Bits/8)
		rand.Read(b)
		defer clear(b)
		return provider.ParsedMaterial{Symmetric: provider.NewSecret(b), Bits: spec.Bits}, nil
	}
	private, err := generatePrivate(spec.Alg, spec.Bits)
	if err != nil {
		return provider.ParsedMaterial{}, err
	}
	public := private.(interface{ Public() crypto.PublicKey }).Public()
	return provider.ParsedMaterial{Private: private, Public: public, Bits: spec.Bits}, nil
}

// generatePrivate makes a private key of the standard library for alg.
func generatePrivate(alg provider.KeyAlg, bits int) (crypto.PrivateKey, error) {
	switch alg.KeyType() + alg.Curve() {
	case "OKPEd25519":
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	case "OKPX25519":
		return ecdh.X25519().GenerateKey(rand.Reader)
	case "ECP-256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECP-384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECP-521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RSA":
		return rsa.GenerateKey(rand.Reader, bits)
	}
	return nil, provider.Unsupportedf("make a key: %s", alg)
}
