package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/modpath"
	"github.com/hsmmirror/hsmmirror/provider"
)

func modpathOf(path string) modpath.Module { return modpath.Module{Path: path} }

// moduleFile looks who can replace a module: whoever can runs as whoever loads it.
func (d *doctor) moduleFile(path string) {
	if !filepath.IsAbs(path) {
		d.ok("module", "%s, found by the dynamic linker", path)
		return
	}
	if who := writers(path); who != "" {
		d.failed("module", "take the right away: who can replace the module gets the PIN", "%s", who)
		return
	}
	d.ok("module", "%s", path)
}

// keystore looks at the directory of the software keystore and what stands in it.
func (d *doctor) keystore(ctx context.Context) {
	dir := d.options.store
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.warn("keystore", "hsmmirror key create makes it", "there is no directory %s yet", dir)
		return
	case err != nil || !info.IsDir():
		d.failed("keystore", "name a directory with --store", "%s is no directory that can be read", dir)
		return
	}
	if who := writers(dir); who != "" {
		d.failed("keystore", "chmod 0700: who can write there can take keys out of the JWK Set", "%s", who)
	} else {
		d.ok("keystore", "%s, written by its owner alone", dir)
	}
	p, err := d.openKeystore(ctx)
	if err != nil {
		d.failed("keystore", "look at the directory", "%v", err)
		return
	}
	defer d.close(p)
	d.records(ctx, p)
	d.manifest(ctx)
}

// manifest looks at the mirror of the keystore as a reader without a token does.
func (d *doctor) manifest(ctx context.Context) {
	if _, err := os.Stat(filepath.Join(d.options.store, "mirror")); err != nil {
		return // no mirror has been kept there
	}
	d.stateDir()
	m, err := d.openReader(ctx)
	if err != nil {
		d.failed("manifest", "compare the pin with hsmmirror mirror pin on the token's host; if it is right, someone changed the mirror", "%v", err)
		return
	}
	defer d.close(m)
	s := newStatusJSON(m.Status())
	switch {
	case s.Problem != "":
		d.failed("manifest", "compare the pin with hsmmirror mirror pin on the token's host; if it is right, someone changed the mirror", "%s", s.Problem)
	case s.Manifest == nil:
		d.warn("manifest", "hsmmirror mirror reconcile has the token sign one", "there is no signed manifest")
	case time.Now().After(s.Manifest.Expires):
		d.failed("manifest", "hsmmirror mirror reconcile has the token sign a new one", "it expired on %s: nothing is served from the mirror", date(s.Manifest.Expires))
	case time.Since(s.Manifest.Issued) < -clockSkew:
		d.failed("manifest", "set this machine's clock", "it was signed at %s, which is to come", date(s.Manifest.Issued))
	case !s.Manifest.Pinned:
		d.warn("manifest", "give readers --manifest-pin with what hsmmirror mirror pin prints", "generation %d, signed %s; no pin was named, so nobody vouches for it", s.Manifest.Generation, ageText(&s.Manifest.Issued))
	default:
		d.ok("manifest", "generation %d, signed %s by the pinned key", s.Manifest.Generation, ageText(&s.Manifest.Issued))
	}
}

// stateDir looks where this host remembers which manifest of the mirror it has seen.
func (d *doctor) stateDir() {
	dir := d.options.stateDir
	if err := d.options.checkStateDir(); err != nil {
		d.failed("state", "name a directory that who can write the keystore's files can't", "%v", err)
		return
	}
	if dir == "" {
		d.warn("state", "name a directory of this host's own, apart from the keystore, with --state-dir", "nothing remembers the latest manifest: an older copy of the mirror would pass for it")
		return
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		d.ok("state", "%s, not there yet: who first reads the mirror makes it", dir)
		return
	}
	if who := writers(dir); who != "" {
		d.failed("state", "chmod 0700: who can write there can have an older copy of the mirror pass for the latest", "%s", who)
		return
	}
	d.ok("state", "%s, written by its owner alone", dir)
}

func (d *doctor) records(ctx context.Context, p provider.Provider) {
	keys, err := p.ListKeys(ctx)
	if err != nil {
		d.failed("records", "look at the directory", "%v", err)
		return
	}
	for _, problem := range keys.Problems {
		d.failed("records", "put the file back from a backup, or reconcile the mirror with the token there", "%v", problem)
	}
	for _, ref := range keys.Keys {
		if ahead := time.Until(ref.Created); ahead > clockSkew {
			d.warn("clock", "set this machine's clock", "%s was made %v from now", ref.JWKKID(), ahead.Round(time.Second))
		}
	}
	if len(keys.Problems) == 0 {
		d.ok("records", "%d keys, all readable", len(keys.Keys))
	}
}

// writers says who else than its owner and root can write a file or directory, or put another in its place; empty if nobody. Of a
// link it looks at both ends: who can change the link needs not change what it leads to.
func writers(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return err.Error()
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err.Error()
	}
	return cmp.Or(writersAlong(target), writersAlong(path))
}

// writersAlong is writers for path and the directories above it.
func writersAlong(path string) string {
	for first := true; ; first = false {
		info, err := os.Stat(path)
		if err != nil {
			return err.Error()
		}
		if sticky := info.Mode()&fs.ModeSticky != 0; first || !sticky { // in /tmp others add, and can't replace
			if who := writersOf(path, info); who != "" {
				return who
			}
		}
		parent := filepath.Dir(path)
		if parent == path {
			return ""
		}
		path = parent
	}
}
