package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
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

// recoveryLimit is the longest that the story waits for the token to be found again.
const recoveryLimit = 30 * time.Second

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
	d.held("each private half is sensitive and never extractable, says the token")
	if err := d.importKey(ctx); err != nil {
		return err
	}
	copies, err := d.keystore.JWKS(ctx, "")
	if err != nil {
		return err
	}
	if copies.Len() != len(demoKeys)+1 {
		return fmt.Errorf("%d public halves in the mirror: want %d", copies.Len(), len(demoKeys)+1)
	}
	d.held("each public half is in the mirror, before the call returned")
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
	d.line("%-9s %s, imported: its private half is known, for the last step", ref.KID, ref.Alg)
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

func (d *demo) takeAway(ctx context.Context) error {
	var err error
	if d.before, err = d.mirror.JWKS(ctx, ""); err != nil {
		return err
	}
	s, err := newSignatory(ctx, d.mirror, "payments")
	if err != nil {
		return err
	}
	if err := d.hsm.Remove(); err != nil {
		return err
	}
	d.line("its files are gone: to the service the HSM was unplugged")
	start := time.Now()
	_, err = s.sign(ctx, []byte("message"))
	took := time.Since(start)
	switch {
	case err == nil:
		return errors.New("a token that is not there signed")
	case !errors.Is(err, provider.ErrUnavailable):
		return fmt.Errorf("want the error for a store that does not answer: %w", err)
	}
	d.line("%s", oneLine(err.Error()))
	d.held("signing says so after %s", milliseconds(took))
	d.see("hsmmirror sign payments --in file   (exits 1)")
	return nil
}

func (d *demo) verifyWithout(ctx context.Context) error {
	start := time.Now()
	set, err := d.mirror.JWKS(ctx, "")
	took := time.Since(start)
	if err != nil {
		return err
	}
	p := set.Provenance
	if p.Source != provider.Secondary || p.AsOf.IsZero() || p.Stale || p.Reason == "" {
		return fmt.Errorf("the answer is not marked as the mirror's: %+v", p)
	}
	d.line("%d keys from the %s after %s, as the token had them %s ago", set.Len(), p.Source, milliseconds(took), time.Since(p.AsOf).Round(time.Second))
	d.held("each answer says that it is the mirror's, how old, and why")
	if !bytes.Equal(set.JSON(), d.before.JSON()) {
		return errors.New("the JWK Set is another one than with the token")
	}
	d.held("the JWK Set is the same as with the token, byte for byte")
	if err := verifies(d.jwt, set); err != nil {
		return err
	}
	d.held("the JWT of step 3 verifies")
	d.see("hsmmirror jwks   (exits 3, with a warning)")
	return nil
}

func (d *demo) putBack(ctx context.Context) error {
	if err := d.hsm.Restore(); err != nil {
		return err
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	for {
		s, err := newSignatory(ctx, d.mirror, "payments")
		if err == nil && s.ref.Provenance.Source == provider.Primary {
			if _, err = s.sign(ctx, []byte("message")); err == nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the token was not found again: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
	d.held("the same service signs again after %.1f s; nothing was restarted", time.Since(start).Seconds())
	set, err := d.mirror.JWKS(ctx, "")
	if err != nil {
		return err
	}
	if set.Provenance.Source != provider.Primary {
		return fmt.Errorf("the JWK Set comes from the %s", set.Provenance.Source)
	}
	d.held("the JWK Set comes from the token")
	d.see("hsmmirror sign payments --in file")
	return nil
}

func (d *demo) destroy(ctx context.Context) error {
	destroyed, err := d.mirror.DestroyKey(ctx, "sessions", provider.AllVersions)
	if err != nil {
		return err
	}
	if m := destroyed.Mirroring; m == nil || !m.Mirrored {
		return errors.New("the destroy did not reach the mirror")
	}
	d.line("sessions is destroyed")
	for _, where := range []struct {
		name  string
		store provider.Provider
	}{{"the token", d.token}, {"the mirror's directory", d.keystore}, {"the service", d.mirror}} {
		if err := gone(ctx, where.store); err != nil {
			return fmt.Errorf("%s: %w", where.name, err)
		}
		d.held("not found in %s", where.name)
	}
	if err := d.hsm.Remove(); err != nil {
		return err
	}
	if err := gone(ctx, d.mirror); err != nil {
		return fmt.Errorf("the mirror, with the token away again: %w", err)
	}
	d.held("and it does not come back when the token is away again")
	d.see("hsmmirror key destroy sessions --all-versions")
	return nil
}

// gone checks that a store answers that it holds no key named sessions, in every way in which it can be asked.
func gone(ctx context.Context, p provider.Provider) error {
	if _, err := p.GetKey(ctx, "sessions", 1); !errors.Is(err, provider.ErrNotFound) {
		return fmt.Errorf("the key is not gone: %v", err)
	}
	set, err := p.JWKS(ctx, "")
	if err != nil {
		return err
	}
	if _, there := set.Key("sessions.1"); there {
		return errors.New("the key is in the JWK Set")
	}
	return nil
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
