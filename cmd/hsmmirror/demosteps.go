package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// demoKeys are the keys that the story makes in the token.
var demoKeys = []provider.KeySpec{
	{KID: "payments", Alg: provider.ECDSAP256SHA256},
	{KID: "sessions", Alg: provider.Ed25519},
	{KID: "releases", Alg: provider.RSAPSSSHA256, Bits: 2048},
}

func (d *demo) introduce(ctx context.Context) error {
	info, err := d.token.Info(ctx)
	if err != nil {
		return err
	}
	d.line("the token is %q of %s %s", info.Label, info.Model, info.Firmware)
	d.line("  %s", d.hsm.Module)
	d.line("the mirror is a directory")
	d.line("  %s", d.store())
	set, err := d.mirror.JWKS(ctx, "")
	if err != nil {
		return err
	}
	if set.Len() != 0 {
		return fmt.Errorf("%d keys in a new token", set.Len())
	}
	d.held("the token answers, and holds no key yet")
	d.see("hsmmirror token list")
	return nil
}

func (d *demo) createKeys(ctx context.Context) error {
	for _, spec := range demoKeys {
		ref, err := d.mirror.CreateKey(ctx, spec)
		if err != nil {
			return err
		}
		if err := wellMade(ref); err != nil {
			return err
		}
		d.line("%-9s %s", ref.KID, ref.Alg)
	}
	if err := d.importKey(ctx); err != nil {
		return err
	}
	d.held("of the three it made the token says: sensitive, never extractable")
	copies, err := d.keystore.JWKS(ctx, "")
	if err != nil {
		return err
	}
	if copies.Len() != len(demoKeys)+1 {
		return fmt.Errorf("%d public halves in the mirror: want %d", copies.Len(), len(demoKeys)+1)
	}
	d.held("the mirror has each public half, and had it before the call returned")
	if d.pin, err = d.mirror.ManifestPin(ctx); err != nil {
		return err
	}
	d.see("hsmmirror key create --kid payments --alg ECDSA_P256_SHA256")
	return nil
}

// wellMade checks what the token says of a key that it made, and that the mirror has its public half and no more.
func wellMade(ref provider.KeyRef) error {
	e, m := ref.Evidence, ref.Mirroring
	is := func(b *bool) bool { return b != nil && *b }
	switch {
	case e == nil || !is(e.Sensitive) || !is(e.NeverExtractable) || !is(e.Local):
		return fmt.Errorf("the token does not say that %q is sensitive, never extractable and made on it", ref.JWKKID())
	case m == nil || !m.Mirrored || m.Private:
		return fmt.Errorf("%q was not mirrored as its public half alone", ref.JWKKID())
	}
	return nil
}

// importKey imports a key whose private half is known here, so that it can be looked for on the mirror's disk.
func (d *demo) importKey(ctx context.Context) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	d.secret = private.Seed()
	material, err := provider.Material(private)
	if err != nil {
		return err
	}
	defer material.Private.Wipe()
	ref, err := d.mirror.ImportKey(ctx, provider.KeySpec{KID: "partner", Alg: provider.Ed25519}, material)
	if err != nil {
		return err
	}
	d.line("%-9s %s, imported: the last step looks for its private half", ref.KID, ref.Alg)
	return nil
}

func (d *demo) signToken(ctx context.Context) error {
	s, err := newSignatory(ctx, d.mirror, "payments")
	if err != nil {
		return err
	}
	claims := fmt.Sprintf(`{"sub":"alice","amount":42,"exp":%d}`, time.Now().Add(time.Hour).Unix())
	if d.jwt, err = makeJWS(ctx, s, "JWT", []byte(claims)); err != nil {
		return err
	}
	d.line("%s", claims)
	d.line("%.60s…", d.jwt)
	set, err := d.mirror.JWKS(ctx, "")
	if err != nil {
		return err
	}
	if err := verifies(d.jwt, set); err != nil {
		return err
	}
	d.held("signed by %s, accepted by a JOSE library that knows the JWK Set only", s.ref.JWKKID())
	d.see("hsmmirror sign payments --claims claims.json | hsmmirror verify")
	return nil
}

// verifies checks a JWT as any other program would, with none of our code.
func verifies(token []byte, keys provider.JWKSet) error {
	set, err := keys.Set()
	if err != nil {
		return err
	}
	if _, err := jwt.Parse(token, jwt.WithKeySet(set)); err != nil {
		return fmt.Errorf("the JWT does not verify: %w", err)
	}
	return nil
}

func (d *demo) rotate(ctx context.Context) error {
	ref, err := d.mirror.RotateKey(ctx, "payments", provider.Rotation{})
	if err != nil {
		return err
	}
	d.line("%s is published now and signs in %v; until then", ref.JWKKID(), provider.DefaultWindows().PublishBefore)
	d.line("payments.1 does, so that verifiers have time to fetch the new key")
	set, err := d.mirror.JWKS(ctx, "payments")
	if err != nil {
		return err
	}
	s, err := newSignatory(ctx, d.mirror, "payments")
	if err != nil {
		return err
	}
	if set.Len() != 2 || ref.State != provider.Pending || s.ref.Version != 1 {
		return fmt.Errorf("%d keys in the set, the new one is %s, version %d signs", set.Len(), ref.State, s.ref.Version)
	}
	d.held("both are in the JWK Set, and %s signs", s.ref.JWKKID())
	d.see("hsmmirror key rotate payments")
	return nil
}

// brief is d with as many digits as a person wants.
func brief(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond} {
		if d >= unit {
			return d.Round(unit / 10).String()
		}
	}
	return d.Round(time.Microsecond).String()
}
