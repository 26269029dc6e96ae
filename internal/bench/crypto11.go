//go:build cgo && unix

package main

import (
	"context"
	"fmt"

	"github.com/ThalesIgnite/crypto11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// viaCrypto11 is crypto11 with its defaults, which wait for a session without a limit and pool 1,024 of them.
type viaCrypto11 struct {
	ctx  *crypto11.Context
	keys int
}

func openCrypto11(_ context.Context, o opening) (contender, error) {
	ctx, err := crypto11.Configure(&crypto11.Config{Path: o.module, TokenLabel: o.token, Pin: string(o.pin.Expose())})
	return &viaCrypto11{ctx, o.keys}, err
}

func (c *viaCrypto11) find(kid string) (crypto11.Signer, error) {
	signer, err := c.ctx.FindKeyPair(nil, []byte(label(kid)))
	if err == nil && signer == nil {
		err = fmt.Errorf("crypto11 finds no key %s", kid)
	}
	return signer, err
}

func (c *viaCrypto11) prepare(_ context.Context, op operation, n int) ([]func() error, error) {
	switch op {
	case signByKID:
		return same(inTurn(inUse, c.signByKID), n), nil
	case signByAny:
		return same(inTurn(c.keys, c.signByKID), n), nil
	case publicKey:
		return same(inTurn(inUse, func(kid string) error {
			_, err := c.find(kid)
			return err
		}), n), nil
	case publicAll:
		return nil, errNotOffered // it shows no key at all of a token that holds one of a type that it does not know, such as Ed25519
	}
	alg := op.alg()
	if alg == provider.Ed25519 {
		return nil, errNotOffered
	}
	signer, err := c.find(string(alg))
	if err != nil {
		return nil, err
	}
	return same(func() error { return sign(signer, alg) }, n), nil
}

func (c *viaCrypto11) signByKID(kid string) error {
	signer, err := c.find(kid)
	if err != nil {
		return err
	}
	return sign(signer, provider.ECDSAP256SHA256)
}

func (c *viaCrypto11) Close() error { return c.ctx.Close() }
