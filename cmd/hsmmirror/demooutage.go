package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// recoveryLimit is the longest that the story waits for the token to be found again.
const recoveryLimit = 30 * time.Second

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
	d.line("%s", oneLine(cause(err.Error())))
	d.held("signing says so, after %s", brief(took))
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
	d.line("%d public keys, from the %s, in %s", set.Len(), p.Source, brief(took))
	d.line("last confirmed by the token %s ago", brief(time.Since(p.AsOf)))
	d.held("the answer says that it is the mirror's, how old it is, and why")
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
	d.held("the same service signs again after %s; nothing was restarted", brief(time.Since(start)))
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
