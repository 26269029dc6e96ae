package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// absent is the primary of a reader who has no token: it answers nothing. A mirror with it serves what the manifest vouches for.
type absent struct{}

var errAbsent = fmt.Errorf("%w: %w", provider.ErrUnavailable, errors.New("no token was named"))

var _ provider.Provider = absent{}

func (absent) Capabilities(context.Context) (provider.Capabilities, error) {
	return provider.Capabilities{}, errAbsent
}

func (absent) CreateKey(context.Context, provider.KeySpec) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) ImportKey(context.Context, provider.KeySpec, provider.KeyMaterial) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) RotateKey(context.Context, string, provider.Rotation) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) DestroyKey(context.Context, string, int) (provider.Destruction, error) {
	return provider.Destruction{}, errAbsent
}

func (absent) GetKey(context.Context, string, int) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) ListKeys(context.Context) (provider.KeyList, error) {
	return provider.KeyList{}, errAbsent
}

func (absent) ListVersions(context.Context, string) (provider.KeyList, error) {
	return provider.KeyList{}, errAbsent
}

func (absent) PublicJWK(context.Context, string, int) (provider.JWK, error) {
	return provider.JWK{}, errAbsent
}

func (absent) JWKS(context.Context, string) (provider.JWKSet, error) {
	return provider.JWKSet{}, errAbsent
}

func (absent) RandomBytes(context.Context, int) ([]byte, error) { return nil, errAbsent }

func (absent) HKDF(context.Context, []byte, []byte, []byte, int) ([]byte, error) {
	return nil, errAbsent
}

func (absent) Close() error { return nil }
