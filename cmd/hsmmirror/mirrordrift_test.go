package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

// What mirror diff makes of one version. The scripts bring about what can be brought about from outside; this is the whole table.
func TestWhatDiffersIsNamedWithItsRepair(t *testing.T) {
	then := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	key := func(edits ...func(*provider.KeyRef)) *provider.KeyRef {
		ref := &provider.KeyRef{
			KID: "k", Version: 1, Alg: provider.Ed25519, Fingerprint: "one", Label: "a label", Tags: map[string]string{"tier": "1"},
			Uses: []provider.KeyUse{provider.UseSign}, Export: provider.ExportNone, ActiveFrom: then, RetireAfter: time.Hour,
		}
		for _, edit := range edits {
			edit(ref)
		}
		return ref
	}
	another := func(ref *provider.KeyRef) { ref.Fingerprint = "two" }
	unknown := func(ref *provider.KeyRef) { ref.Fingerprint = "" }
	otherAlg := func(ref *provider.KeyRef) { ref.Alg = provider.X25519 }
	label := func(ref *provider.KeyRef) { ref.Label = "another" }
	secret := func(ref *provider.KeyRef) { ref.Alg, ref.Fingerprint = provider.AES256GCM, "" }
	exportable := func(ref *provider.KeyRef) { ref.Export = provider.ExportSecretWhenAllowed }
	everything := func(ref *provider.KeyRef) {
		ref.Label, ref.Tags, ref.Uses, ref.Export, ref.ActiveFrom = "", nil, nil, provider.ExportPublicOnly, then.Add(time.Second)
	}
	stated := func(ref *provider.KeyRef, edits ...func(*mirror.Statement)) *mirror.Statement {
		s := &mirror.Statement{Ref: *ref}
		for _, edit := range edits {
			edit(s)
		}
		return s
	}
	destroyed := func(s *mirror.Statement) { s.Destroyed = then }
	destroying := func(s *mirror.Statement) { s.Destroying = true }
	missing := func(s *mirror.Statement) { s.Missing = then }
	conflict := func(s *mirror.Statement) { s.Conflict = "three" }

	tests := []struct {
		name         string
		mode         mirror.Mode
		held, copied *provider.KeyRef
		stated       *mirror.Statement
		want         []driftJSON
		damaged      bool // in the store that does not list it
	}{
		{"all say the same", mirror.PublicOnly, key(), key(), stated(key()), nil, false},
		{"the keystore can't read it, and says so itself", mirror.PublicOnly, key(), nil, stated(key()), nil, true},
		{"the token can't read it, and says so itself", mirror.PublicOnly, nil, key(), stated(key()), nil, true},
		{"the keystore lacks it", mirror.PublicOnly, key(), nil, stated(key()), []driftJSON{
			{"k.1", driftMissing, "the token holds it, and the keystore does not", "copied"}}, false},
		{"nothing is copied in mode none", mirror.None, key(), nil, stated(key()), nil, false},
		{"the public half of a key that may leave is copied", mirror.PublicOnly, key(exportable), nil, stated(key(exportable)), []driftJSON{
			{"k.1", driftMissing, "the token holds it, and the keystore does not", "copied"}}, false},
		{"no secret key is copied in mode public_only", mirror.PublicOnly, key(secret, exportable), nil, stated(key(secret, exportable)), nil, false},
		{"no secret key is copied that may not leave", mirror.Full, key(secret), nil, stated(key(secret)), nil, false},
		{"a secret key that may leave is copied in mode full", mirror.Full, key(secret, exportable), nil, stated(key(secret, exportable)), []driftJSON{
			{"k.1", driftMissing, "the token holds it, and the keystore does not", "copied"}}, false},

		{"the copy is another key", mirror.PublicOnly, key(), key(another), stated(key()), []driftJSON{
			{"k.1", driftReplaced, "the token holds one, and the keystore two", ""}}, false},
		{"the copy is of another algorithm", mirror.PublicOnly, key(), key(otherAlg), stated(key()), []driftJSON{
			{"k.1", driftReplaced, "the token holds one, and the keystore one", ""}}, false},
		{"the copy is a key without a fingerprint", mirror.PublicOnly, key(), key(unknown, label), stated(key()), []driftJSON{
			{"k.1", driftReplaced, "the token holds one, and the keystore another", ""}}, false},
		{"the copy says something else of the key", mirror.PublicOnly, key(), key(everything), stated(key()), []driftJSON{
			{"k.1", driftOutdated, "the keystore has another schedule, label, tags, uses, export policy", "copied"}}, false},
		{"the copy retires at another time", mirror.PublicOnly, key(), key(func(ref *provider.KeyRef) { ref.RetireAfter++ }), stated(key()), []driftJSON{
			{"k.1", driftOutdated, "the keystore has another schedule", "copied"}}, false},

		{"the manifest does not name it", mirror.PublicOnly, key(), key(), nil, []driftJSON{
			{"k.1", driftUnsigned, "the token holds it, and the manifest does not name it", "signed"}}, false},
		{"the manifest names another key", mirror.PublicOnly, key(), key(), stated(key(another)), []driftJSON{
			{"k.1", driftReplaced, "the token holds one, and the manifest names two", ""}}, false},
		{"the manifest names a key of another algorithm", mirror.PublicOnly, key(), key(), stated(key(otherAlg)), []driftJSON{
			{"k.1", driftReplaced, "the token holds one, and the manifest names one", ""}}, false},
		{"the manifest names two keys", mirror.PublicOnly, key(), key(), stated(key(), conflict), []driftJSON{
			{"k.1", driftReplaced, "the token holds one, and the manifest names one, and later three", ""}}, false},
		{"the manifest says something else of the key", mirror.PublicOnly, key(), key(), stated(key(label)), []driftJSON{
			{"k.1", driftOutdated, "the manifest has another label", "signed anew"}}, false},
		{"the token has it again", mirror.PublicOnly, key(), key(), stated(key(), missing), []driftJSON{
			{"k.1", driftOutdated, "the manifest says that the token lacks it since 2026-11-23T12:00:00Z", "signed anew"}}, false},
		{"its destruction was begun", mirror.PublicOnly, key(), key(), stated(key(), destroying), []driftJSON{
			{"k.1", driftUnfinished, "its destruction was begun, and the token holds it", "finished"}}, false},
		{"it was destroyed, and is back", mirror.PublicOnly, key(), key(another), stated(key(everything), destroyed), []driftJSON{
			{"k.1", driftReturned, "it was destroyed through the mirror on 2026-11-23T12:00:00Z, and the token holds it", ""}}, false},

		{"the token lacks it", mirror.PublicOnly, nil, key(), stated(key()), []driftJSON{
			{"k.1", driftOrphan, "the keystore holds it, and the token does not", "removed if it was destroyed through the mirror, else left"}}, false},
		{"only the keystore has it", mirror.PublicOnly, nil, key(), nil, []driftJSON{
			{"k.1", driftOrphan, "the keystore holds it, and the token does not", "removed if it was destroyed through the mirror, else left"}}, false},
		{"only the manifest has it", mirror.PublicOnly, nil, nil, stated(key()), []driftJSON{
			{"k.1", driftOrphan, "the manifest names it, and neither the token nor the keystore holds it", ""}}, false},
		{"it was destroyed, and the copy is left", mirror.PublicOnly, nil, key(), stated(key(), destroyed), []driftJSON{
			{"k.1", driftOrphan, "the keystore holds it, and it was destroyed through the mirror on 2026-11-23T12:00:00Z", "removed"}}, false},
		{"it was destroyed everywhere", mirror.PublicOnly, nil, nil, stated(key(), destroyed), nil, false},
		{"its destruction came as far as the token", mirror.PublicOnly, nil, key(), stated(key(), destroying), []driftJSON{
			{"k.1", driftUnfinished, "its destruction was begun", "finished"}}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := &app{options: options{mode: string(test.mode)}}
			c := comparison{held: map[string]provider.KeyRef{}, copied: map[string]provider.KeyRef{}, signed: true, stated: map[string]mirror.Statement{}}
			c.damaged = map[string]bool{"k.1": test.damaged}
			if test.held != nil {
				c.held["k.1"] = *test.held
			}
			if test.copied != nil {
				c.copied["k.1"] = *test.copied
			}
			if test.stated != nil {
				c.stated["k.1"] = *test.stated
			}
			require.Equal(t, test.want, a.compare(c))
		})
	}
}

func TestDriftIsSortedByVersion(t *testing.T) {
	a := &app{options: options{mode: string(mirror.PublicOnly)}}
	held := map[string]provider.KeyRef{}
	for _, name := range []string{"d.1", "b.1", "a.1", "c.1", "e.1"} {
		held[name] = provider.KeyRef{Alg: provider.Ed25519}
	}
	var names []string
	for _, d := range a.compare(comparison{held: held, signed: true}) {
		names = append(names, d.Version+" "+d.Drift)
	}
	require.Equal(t, []string{
		"a.1 missing", "a.1 unsigned", "b.1 missing", "b.1 unsigned", "c.1 missing", "c.1 unsigned", "d.1 missing", "d.1 unsigned", "e.1 missing", "e.1 unsigned",
	}, names)
}
