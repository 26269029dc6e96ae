//go:build cgo && unix

package main

import (
	"context"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// ours is hsm.Token as anyone would open it, with all its defaults.
type ours struct {
	token *hsm.Token
	keys  int
}

func openOurs(ctx context.Context, o opening) (contender, error) {
	token, err := openToken(ctx, o)
	return &ours{token, o.keys}, err
}

func openToken(ctx context.Context, o opening) (*hsm.Token, error) {
	return hsm.Open(ctx, hsm.Config{Module: o.module, Label: o.token, PIN: func(context.Context) (provider.Secret, error) {
		return provider.NewSecret(o.pin.Expose()), nil
	}})
}

func (c *ours) prepare(ctx context.Context, op operation, n int) ([]func() error, error) {
	switch op {
	case signByKID:
		return same(inTurn(inUse, c.signByKID), n), nil
	case signByAny:
		return same(inTurn(c.keys, c.signByKID), n), nil
	case publicKey:
		return same(inTurn(inUse, func(kid string) error {
			_, err := c.token.PublicJWK(ctx, kid, 0)
			return err
		}), n), nil
	case publicAll:
		return same(func() error {
			_, err := c.token.JWKS(ctx, "")
			return err
		}, n), nil
	}
	alg := op.alg()
	signer, err := c.token.Signer(ctx, string(alg), 0)
	if err != nil {
		return nil, err
	}
	return same(func() error { return sign(signer, alg) }, n), nil
}

func (c *ours) signByKID(kid string) error {
	signer, err := c.token.Signer(context.Background(), kid, 0)
	if err != nil {
		return err
	}
	return sign(signer, provider.ECDSAP256SHA256)
}

func (c *ours) Close() error { return c.token.Close() }
