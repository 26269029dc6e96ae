package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

// driftJSON is one difference between the token, the keystore and the manifest. docs/json.md describes the members.
type driftJSON struct {
	Version string `json:"version"` // empty: of all of them
	Drift   string `json:"drift"`
	Text    string `json:"text"`
	Repair  string `json:"repair"` // what mirror reconcile does about it; empty: nothing
}

// The kinds of drift.
const (
	driftMissing    = "missing"    // the token holds it, the keystore should and does not
	driftUnsigned   = "unsigned"   // the token holds it, and the manifest does not name it
	driftReplaced   = "replaced"   // two keys under one name
	driftOutdated   = "outdated"   // the copy or the manifest says something else of the key than the token does
	driftOrphan     = "orphan"     // the token does not hold it, and the keystore or the manifest has it
	driftReturned   = "returned"   // it was destroyed through the mirror, and the token holds it
	driftUnfinished = "unfinished" // its destruction was begun
	driftExpired    = "expired"    // the manifest, so that nothing is served
	driftDamaged    = "damaged"    // a store holds it and can't read it
)

// comparison is what there is, and what differs. The maps are by the kid of the JWK.
type comparison struct {
	held, copied map[string]provider.KeyRef
	damaged      map[string]bool // one store lists it, and the other holds it and can't read it: its problems say so
	signed       bool            // there is a manifest to compare with
	stated       map[string]mirror.Statement
	drift        []driftJSON
}

func (c *comparison) add(version, drift, repair, format string, args ...any) {
	c.drift = append(c.drift, driftJSON{version, drift, fmt.Sprintf(format, args...), repair})
}

// readManifest reads what the manifest says, as a reader without a token does: this changes nothing. In mode none there is none.
func (a *app) readManifest(ctx context.Context, c *comparison) error {
	if mirror.Mode(a.options.mode) == mirror.None {
		return nil
	}
	if _, err := os.Stat(filepath.Join(a.options.store, "mirror")); errors.Is(err, fs.ErrNotExist) {
		c.add("", driftUnsigned, "signed", "there is no signed manifest")
		return nil
	}
	m, err := a.openReader(ctx)
	if err != nil {
		return err
	}
	defer a.close(m)
	switch s := m.Status(); {
	case s.State != nil:
		c.add("", driftDamaged, "", "%v", s.State)
		return nil
	case s.Manifest.Issued.IsZero():
		c.add("", driftUnsigned, "signed", "there is no signed manifest")
		return nil
	case time.Now().After(s.Manifest.Expires):
		c.add("", driftExpired, "signed anew", "the manifest expired on %s: nothing is served from the mirror", date(s.Manifest.Expires))
	}
	c.signed, c.stated = true, map[string]mirror.Statement{}
	for _, s := range m.Stated() {
		c.stated[s.Ref.JWKKID()] = s
	}
	return nil
}

// compare returns the differences, in order of version.
func (a *app) compare(c comparison) []driftJSON {
	names := map[string]bool{}
	for _, of := range []map[string]provider.KeyRef{c.held, c.copied} {
		for name := range of {
			names[name] = true
		}
	}
	for name := range c.stated {
		names[name] = true
	}
	for name := range names {
		ref, held := c.held[name]
		twin, copied := c.copied[name]
		switch dead := c.stated[name].Destroyed; {
		case !held && c.damaged[name]:
			continue
		case !held:
			c.unheld(name)
			continue
		case !dead.IsZero():
			c.add(name, driftReturned, "", "it was destroyed through the mirror on %s, and the token holds it", date(dead))
			continue
		case copied:
			c.copyOf(name, ref, twin)
		case a.copies(ref) && !c.damaged[name]:
			c.add(name, driftMissing, "copied", "the token holds it, and the keystore does not")
		}
		if c.signed {
			c.statementOf(name, ref)
		}
	}
	slices.SortStableFunc(c.drift, func(a, b driftJSON) int { return cmp.Compare(a.Version, b.Version) })
	return c.drift
}

// copyOf compares what the token holds with the keystore's copy.
func (c *comparison) copyOf(name string, ref, twin provider.KeyRef) {
	fields := outdated(ref, twin)
	switch {
	case ref.Fingerprint != twin.Fingerprint || ref.Alg != twin.Alg:
		c.add(name, driftReplaced, "", "the token holds %s, and the keystore %s", cmp.Or(ref.Fingerprint, "another key"), cmp.Or(twin.Fingerprint, "another"))
	case len(fields) > 0:
		c.add(name, driftOutdated, "copied", "the keystore has another %s", strings.Join(fields, ", "))
	}
}

// statementOf compares what the token holds with what the manifest says.
func (c *comparison) statementOf(name string, ref provider.KeyRef) {
	s, stated := c.stated[name]
	fields := outdated(ref, s.Ref)
	switch {
	case !stated:
		c.add(name, driftUnsigned, "signed", "the token holds it, and the manifest does not name it")
	case s.Destroying:
		c.add(name, driftUnfinished, "finished", "its destruction was begun, and the token holds it")
	case ref.Fingerprint != s.Ref.Fingerprint || ref.Alg != s.Ref.Alg || s.Conflict != "":
		c.add(name, driftReplaced, "", "the token holds %s, and the manifest names %s", cmp.Or(ref.Fingerprint, "another key"), statedKey(s))
	case !s.Missing.IsZero():
		c.add(name, driftOutdated, "signed anew", "the manifest says that the token lacks it since %s", date(s.Missing))
	case len(fields) > 0:
		c.add(name, driftOutdated, "signed anew", "the manifest has another %s", strings.Join(fields, ", "))
	}
}

// unheld looks at what the token does not hold.
func (c *comparison) unheld(name string) {
	_, copied := c.copied[name]
	s, stated := c.stated[name]
	switch {
	case stated && s.Destroying:
		c.add(name, driftUnfinished, "finished", "its destruction was begun")
	case stated && !s.Destroyed.IsZero() && copied:
		c.add(name, driftOrphan, "removed", "the keystore holds it, and it was destroyed through the mirror on %s", date(s.Destroyed))
	case copied:
		c.add(name, driftOrphan, "removed if it was destroyed through the mirror, else left", "the keystore holds it, and the token does not")
	case stated && s.Destroyed.IsZero():
		c.add(name, driftOrphan, "", "the manifest names it, and neither the token nor the keystore holds it")
	}
}

// statedKey is the key that a statement names, or the keys.
func statedKey(s mirror.Statement) string {
	text := cmp.Or(s.Ref.Fingerprint, "another")
	if s.Conflict != "" {
		text += ", and later " + s.Conflict
	}
	return text
}

// copies tells whether the mode wants a copy of a version in the keystore.
func (a *app) copies(ref provider.KeyRef) bool {
	return mirror.Mode(a.options.mode) != mirror.None && (ref.Alg.Class() != provider.Symmetric || a.copiesSecret(ref))
}

// copiesSecret tells whether the mode copies a symmetric key.
func (a *app) copiesSecret(ref provider.KeyRef) bool {
	return mirror.Mode(a.options.mode) == mirror.Full && ref.Export == provider.ExportSecretWhenAllowed
}

// outdated names what a copy says otherwise of the same key.
func outdated(ref, twin provider.KeyRef) []string {
	var fields []string
	differ := func(is bool, name string) {
		if is {
			fields = append(fields, name)
		}
	}
	differ(!ref.ActiveFrom.Equal(twin.ActiveFrom) || ref.RetireAfter != twin.RetireAfter, "schedule")
	differ(ref.Label != twin.Label, "label")
	differ(!maps.Equal(ref.Tags, twin.Tags), "tags")
	differ(!slices.Equal(ref.Uses, twin.Uses), "uses")
	differ(ref.Export != twin.Export, "export policy")
	return fields
}
