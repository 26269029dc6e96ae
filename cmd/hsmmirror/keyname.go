package main

import (
	"context"
	"errors"

	"github.com/hsmmirror/hsmmirror/provider"
)

// named is a key as the command line named it.
type named struct {
	kid     string
	version int             // 0: none was named
	ref     provider.KeyRef // the named version, or the latest
}

// find looks a key up by KID or KID.VERSION. "a.1" is version 1 of "a" if there is a key "a", and else the key "a.1".
func find(ctx context.Context, p provider.Provider, name string) (named, error) {
	kid, version, ok := provider.SplitJWKKID(name)
	if !ok {
		return findKID(ctx, p, name)
	}
	ref, err := p.GetKey(ctx, kid, version)
	if err == nil {
		return named{kid, version, ref}, nil
	}
	if !errors.Is(err, provider.ErrNotFound) {
		return named{}, err
	}
	if _, latest := p.GetKey(ctx, kid, 0); !errors.Is(latest, provider.ErrNotFound) {
		return named{}, err // there is a key "a", or no telling
	}
	if n, errKID := findKID(ctx, p, name); !errors.Is(errKID, provider.ErrNotFound) {
		return n, errKID
	}
	return named{}, err
}

func findKID(ctx context.Context, p provider.Provider, kid string) (named, error) {
	if err := provider.ValidateKID(kid); err != nil {
		return named{}, err
	}
	ref, err := p.GetKey(ctx, kid, 0)
	return named{kid, 0, ref}, err
}
