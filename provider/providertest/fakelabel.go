package providertest

import (
	"cmp"
	"context"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Relabel implements [provider.Labelling]. Of a version the fake has one object, labelled as its JWK at first.
func (f *Fake) Relabel(ctx context.Context, kid string, version int, label string) (provider.Relabelled, error) {
	return call(ctx, f, "Relabel", func(s *fakeStore) (provider.Relabelled, error) {
		v, ref, err := s.find(kid, version)
		if err != nil {
			return provider.Relabelled{}, err
		}
		done := provider.Relabelled{Ref: ref, Label: label, Before: []string{v.objectLabel()}}
		v.label = label
		for _, k := range s.keys {
			versions, _ := k.live(time.Now())
			for _, other := range versions {
				if other != v && other.objectLabel() == label {
					done.Others++
				}
			}
		}
		return done, nil
	}, provider.ValidateKID(kid), provider.ValidateVersion(version), provider.ValidateObjectLabel(label))
}

func (v *fakeVersion) objectLabel() string { return cmp.Or(v.label, v.ref.JWKKID()) }
