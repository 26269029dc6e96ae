package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// makeOldMirror makes the mirror of a keystore whose manifest lives for two seconds, and waits until that is over. The store that signs
// is a keystore too.
func makeOldMirror(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oldmirror DIR")
	}
	ctx, dir := context.Background(), ts.MkAbs(args[0])
	passphrase := func(context.Context) (provider.Secret, error) {
		return provider.NewSecret([]byte("correct-horse")), nil
	}
	primary, err := softfile.Open(ctx, softfile.Config{Dir: dir + ".primary", Passphrase: passphrase})
	ts.Check(err)
	secondary, err := softfile.Open(ctx, softfile.Config{Dir: dir})
	ts.Check(err)
	m, err := mirror.New(primary, secondary, mirror.Config{
		ManifestDir: filepath.Join(dir, "mirror"), StaleAfter: time.Second, RefuseAfter: 2 * time.Second, ReconcileEvery: time.Second,
	})
	ts.Check(err)
	_, err = m.CreateKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.Ed25519})
	ts.Check(err)
	ts.Check(m.Close())
	expires := m.Status().Manifest.Expires // of the last one: until it was closed, the mirror may have had another one signed
	time.Sleep(time.Until(expires.Add(time.Second)))
}
