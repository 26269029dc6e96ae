package providertest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Forget removes a version as another program with access to the token would: no tombstone stays, and its number is
// free again. It panics if there is no such version.
func (f *Fake) Forget(kid string, version int) {
	f.damage(kid, version, func(k *fakeKey, v *fakeVersion) {
		k.versions = slices.DeleteFunc(k.versions, func(w *fakeVersion) bool { return w == v })
	})
}

// Swap puts another key of the same algorithm in the place of a version, as an attacker or an accident would. It panics
// if there is no such version.
func (f *Fake) Swap(kid string, version int) {
	f.damage(kid, version, func(_ *fakeKey, v *fakeVersion) {
		key, err := generate(v.ref.Spec())
		if err != nil {
			panic(err)
		}
		v.key = key
		if err := v.describeKey(); err != nil {
			panic(err)
		}
	})
}

// Held describes every version that the store holds, whatever it was told to answer.
func (f *Fake) Held() (refs []provider.KeyRef) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	for _, kid := range slices.Sorted(maps.Keys(f.store.keys)) {
		_, live := f.store.keys[kid].live(time.Now())
		refs = append(refs, live...)
	}
	return refs
}

// Lack makes the store unable to make, to take and to use keys of algs: [provider.ErrUnsupported].
func (f *Fake) Lack(algs ...provider.KeyAlg) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.store.lacks = append(f.store.lacks, algs...)
}

func (f *Fake) damage(kid string, version int, do func(*fakeKey, *fakeVersion)) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	v, _, err := f.store.find(kid, version)
	if err != nil {
		panic(fmt.Sprintf("providertest: %v", err))
	}
	do(f.store.keys[kid], v)
}

func (s *fakeStore) lacking(alg provider.KeyAlg) bool { return slices.Contains(s.lacks, alg) }

func lacks(alg provider.KeyAlg) error {
	return provider.Unsupportedf("%s: the fake was told to lack it", alg)
}
