package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// intrude puts a key of somebody else's in the place of one in the mirror's directory, has a verifier look at it, and puts the file back.
func (d *demo) intrude(ctx context.Context) (err error) {
	target := filepath.Join(d.store(), "keys", "payments", "1.json")
	genuine, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	forged, err := d.forge(ctx)
	if err != nil {
		return err
	}
	if err := os.WriteFile(target, forged, 0o600); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.WriteFile(target, genuine, 0o600)) }()
	d.line("somebody who can write the mirror's files gives payments.1 a public key")
	d.line("of their own, while the token can't contradict")
	return d.verifyPinned(ctx)
}

// forge returns the record of another key named payments, as good as any.
func (d *demo) forge(ctx context.Context) ([]byte, error) {
	dir := filepath.Join(d.dir, "intruder")
	store, err := softfile.Open(ctx, softfile.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	material, err := provider.PublicMaterial(key.Public())
	if err != nil {
		return nil, err
	}
	if _, err := store.ImportKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.ECDSAP256SHA256}, material); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "keys", "payments", "1.json"))
}

// verifyPinned is what a verifier sees that has neither token nor PIN, and knows the pin.
func (d *demo) verifyPinned(ctx context.Context) error {
	keystore, err := softfile.Open(ctx, softfile.Config{Dir: d.store()})
	if err != nil {
		return err
	}
	reader, err := mirror.NewReader(keystore, mirror.Config{
		ManifestDir: filepath.Join(d.store(), "mirror"), Pin: d.pin, StateDir: filepath.Join(d.dir, "reader"),
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	_, err = reader.PublicJWK(ctx, "payments", 1)
	if !errors.Is(err, provider.ErrTampered) {
		return fmt.Errorf("want the error for a key that was tampered with: %v", err)
	}
	d.line("%.73s…", oneLine(err.Error()))
	d.held("a verifier that knows the pin refuses it: the token signed another one")
	if _, err = reader.PublicJWK(ctx, "releases", 1); err != nil {
		return err
	}
	d.held("and is served the keys that nobody has touched")
	d.see("hsmmirror mirror pin;  hsmmirror jwk payments.1 --manifest-pin PIN   (exits 1)")
	return nil
}
