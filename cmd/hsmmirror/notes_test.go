package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestWhatIsSaidOfAnAnswer(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	tests := []struct {
		name  string
		notes func(*app)
		want  string
		code  int
	}{
		{"the token answered", func(a *app) {
			a.noteSource("key \"k.1\"", provider.FromPrimary(time.Now()))
		}, "", exitDone},
		{"a merged set is judged by its keys", func(a *app) {
			a.noteSource("the set", provider.Provenance{Source: provider.Merged})
		}, "", exitDone},
		{"the mirror answered", func(a *app) {
			a.noteSource("key \"k.1\"", provider.Provenance{Source: provider.Secondary, AsOf: ago(5 * time.Minute), Reason: "primary: store unavailable: C_Sign: CKR_DEVICE_REMOVED"})
		}, "hsmmirror: warning: token \"demo\" is unavailable; answered from the mirror, 5m0s old\n" +
			"hsmmirror: hint: the reason is C_Sign: CKR_DEVICE_REMOVED\n", exitDegraded},
		{"many keys from the mirror are one warning", func(a *app) {
			for _, what := range []string{"key \"k.1\"", "key \"k.2\""} {
				a.noteSource(what, provider.Provenance{Source: provider.Secondary, AsOf: ago(time.Hour)})
			}
		}, "hsmmirror: warning: token \"demo\" is unavailable; answered from the mirror, 1h0m0s old\n", exitDegraded},
		{"answers of several ages are one warning, with the oldest", func(a *app) {
			for _, age := range []time.Duration{time.Minute, time.Hour, time.Second} {
				a.noteSource("key \"k.1\"", provider.Provenance{Source: provider.Secondary, AsOf: ago(age)})
			}
		}, "hsmmirror: warning: token \"demo\" is unavailable; answered from the mirror, 1h0m0s old\n", exitDegraded},
		{"a reader has no token that could be away", func(a *app) {
			a.reads = true
			a.noteSource("key \"k.1\"", provider.Provenance{Source: provider.Secondary, AsOf: ago(time.Hour), Reason: "primary: closed"})
		}, "", exitDone},
		{"a reader's answer is stale", func(a *app) {
			a.reads = true
			a.noteSource("key \"k.1\"", provider.Provenance{Source: provider.Secondary, AsOf: ago(time.Hour), Stale: true})
		}, "hsmmirror: warning: the answer is stale: the token last confirmed it too long ago\n", exitDegraded},
		{"a destruction that was not mirrored", func(a *app) {
			_ = a.printDestroyed(provider.Destruction{KID: "k", Mirroring: &provider.Mirroring{Reason: "disk full"}})
		}, "hsmmirror: warning: the destruction of key \"k\" is not mirrored: disk full\n", exitDegraded},
		{"what is said twice is said once", func(a *app) {
			a.notes.degrade("the same")
			a.notes.add("hint", "the same")
			a.notes.degrade("the same")
		}, "hsmmirror: warning: the same\nhsmmirror: hint: the same\n", exitDegraded},
		{"nobody knows since when", func(a *app) {
			a.noteSource("key \"k.1\"", provider.Provenance{Source: provider.Secondary, Stale: true})
		}, "hsmmirror: warning: token \"demo\" is unavailable; answered from the mirror, of unknown age\n" +
			"hsmmirror: warning: the answer is stale: the mirror was last confirmed too long ago\n", exitDegraded},
		{"an orphan", func(a *app) {
			a.noteSource("key \"k.1\"", provider.Provenance{Source: provider.Secondary, AsOf: ago(time.Minute), Orphan: true, Reason: "key not found"})
		}, "hsmmirror: warning: token \"demo\" does not hold key \"k.1\", and nobody destroyed it through the mirror; answered from the mirror, 1m0s old\n", exitDegraded},
		{"a write that was mirrored", func(a *app) {
			a.noteMirroring("key \"k.1\"", &provider.Mirroring{Mirrored: true})
		}, "", exitDone},
		{"a write that was not mirrored", func(a *app) {
			a.noteMirroring("key \"k.1\"", &provider.Mirroring{Reason: "disk full"})
		}, "hsmmirror: warning: key \"k.1\" is not mirrored: disk full\n", exitDegraded},
		{"less than the mode asks for is mirrored", func(a *app) {
			a.noteMirroring("key \"k.1\"", &provider.Mirroring{Mirrored: true, Reason: "public half only: the export policy is none"})
		}, "hsmmirror: warning: mirror of key \"k.1\": public half only: the export policy is none\n", exitDone},
		{"a manifest that does not name every version", func(a *app) {
			a.judgeStatus(statusJSON{Primary: storeStatusJSON{Up: true}, Secondary: storeStatusJSON{Up: true}, Manifest: &manifestSummary{Expires: time.Now().Add(time.Hour), Unsigned: []string{"k.1"}}})
		}, "hsmmirror: warning: the manifest does not name every version as it should: hsmmirror mirror reconcile has a new one signed\n", exitDegraded},
		{"a list with gaps", func(a *app) {
			a.noteProblems([]error{errors.New("keys/a\x1b[2J: damaged\nsecond line")})
		}, "hsmmirror: warning: \"left out: keys/a\\x1b[2J: damaged; second line\"\n", exitDegraded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			a := &app{streams: streams{err: &stderr}, options: options{output: outputTable}, primary: `token "demo"`}
			test.notes(a)
			require.Equal(t, test.code, a.report())
			require.Equal(t, test.want, stderr.String())
		})
	}
}
