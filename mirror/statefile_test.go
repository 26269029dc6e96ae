package mirror

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestStatesThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"whole", `{"format":2,"generation":1,"keys":{}}`, nil},
		{"of a version before", `{"format":1,"generation":1,"keys":{}}`, provider.ErrTampered},
		{"of a version to come", `{"format":3,"generation":1,"keys":{}}`, provider.ErrUnsupported},
		{"without keys", `{"format":2,"generation":1,"keys":null}`, provider.ErrTampered},
		{"an unknown member", `{"format":2,"generation":1,"keys":{},"x":1}`, provider.ErrTampered},
		{"a member twice", `{"format":2,"generation":2,"generation":1,"keys":{}}`, provider.ErrTampered},
		{"a version that is none", `{"format":2,"generation":1,"keys":{"k":{"0":{}}}}`, provider.ErrTampered},
		{"no JSON", `x`, provider.ErrTampered},
	} {
		_, err := decodeState([]byte(tt.text + "\n"))
		require.ErrorIs(t, err, tt.want, tt.name)
	}
}

// Which manifest a state belongs to decides whether it counts.
func TestJoin(t *testing.T) {
	issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	k, added := Version{"k", 1}, Version{"added", 1}
	signed := &manifest{generation: 5, issued: issued, ledger: newLedger()}
	signed.ledger.set(k, entry{Fingerprint: "signed", signed: true})
	state := func(generation int64) *stateFile {
		return &stateFile{stateFormat, generation, map[string]map[int]entry{
			"k": {1: {Fingerprint: "changed", Destroyed: issued.Add(time.Hour)}}, "added": {1: {Fingerprint: "new"}},
		}}
	}
	tests := []struct {
		name      string
		signed    *manifest
		changes   *stateFile
		destroyed bool
		added     bool
		want      error
	}{
		{"neither is there", nil, nil, false, false, nil},
		{"no state", signed, nil, false, false, nil},
		{"the state of this manifest", signed, state(5), true, true, nil},
		{"the state of a manifest before is void", signed, state(4), false, false, nil},
		{"the state of a manifest that is not there", signed, state(6), false, false, provider.ErrTampered},
		{"a state before the first manifest", nil, state(0), true, true, nil},
		{"a state without its manifest", nil, state(1), false, false, provider.ErrTampered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := join(tt.signed, tt.changes)
			require.ErrorIs(t, err, tt.want)
			if err != nil {
				return
			}
			require.Equal(t, tt.destroyed, l.destroyed("k", 1))
			e, known := l.get(added)
			require.Equal(t, tt.added, known)
			require.False(t, e.signed, "nobody signed what the state adds")
			if e, _ := l.get(k); tt.signed != nil {
				require.Equal(t, "signed", e.Fingerprint)
			}
			_, known = signed.ledger.get(added)
			require.False(t, known, "the manifest stays as it is")
		})
	}
}

// Nobody signed a change: it takes a version out of service and does nothing else.
func TestAChangeOnlyRestricts(t *testing.T) {
	issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before, after, later := issued.Add(-time.Hour), issued.Add(time.Hour), issued.Add(2*time.Hour)
	copied, moved := &Version{"c", 1}, &Version{"elsewhere", 1}
	doing := &intent{Owner: "o"}
	live := entry{Fingerprint: "f", ActiveFrom: before, RetireAfter: 1, Confirmed: before, Copy: copied, signed: true}
	with := func(e entry, edit func(e *entry)) entry {
		edit(&e)
		return e
	}
	gone := with(live, func(e *entry) { e.Destroyed = before })
	tests := []struct {
		name              string
		was, change, want entry
	}{
		{"an empty one changes nothing", live, entry{}, live},
		{"it says nothing of the key and its schedule", live,
			entry{Fingerprint: "other", details: details{Alg: provider.Ed25519}, ActiveFrom: after, RetireAfter: 9, Confirmed: after, Unmirrored: true, Evidence: &evidence{}, Copy: moved}, live},
		{"a destroy counts", live, entry{Destroyed: after}, with(live, func(e *entry) { e.Destroyed, e.Copy = after, nil })},
		{"a destroy is not dated back to before the manifest", live, entry{Destroyed: before}, with(live, func(e *entry) { e.Destroyed, e.Copy = issued, nil })},
		{"of what is destroyed it says where the copy stands", gone, entry{Destroyed: before, Copy: moved, CopyLeft: true},
			with(gone, func(e *entry) { e.Copy, e.CopyLeft = moved, true })},
		{"a tombstone stays", gone, entry{Copy: copied}, gone},
		{"a tombstone keeps its time", gone, entry{Destroyed: later, Copy: copied}, gone},
		{"a destroy under way counts", live, entry{Intent: doing}, with(live, func(e *entry) { e.Intent = doing })},
		{"and may have been given up", with(live, func(e *entry) { e.Intent = doing }), entry{}, live},
		{"that the primary lacks it counts", live, entry{Missing: after}, with(live, func(e *entry) { e.Missing = after })},
		{"and is not taken back", with(live, func(e *entry) { e.Missing = after }), entry{}, with(live, func(e *entry) { e.Missing = after })},
		{"nor dated anew", with(live, func(e *entry) { e.Missing = after }), entry{Missing: later}, with(live, func(e *entry) { e.Missing = after })},
		{"that the key was replaced counts", live, entry{Conflict: "x"}, with(live, func(e *entry) { e.Conflict = "x" })},
		{"and is not taken back either", with(live, func(e *entry) { e.Conflict = "x" }), entry{}, with(live, func(e *entry) { e.Conflict = "x" })},
		{"nor changed", with(live, func(e *entry) { e.Conflict = "x" }), entry{Conflict: "y"}, with(live, func(e *entry) { e.Conflict = "x" })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, tt.was.restrict(tt.change, issued)) })
	}
}

// What differs from the manifest stands in the state; what was only confirmed again does not.
func TestWhatTheStateAdds(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	base := entry{Fingerprint: strings.Repeat("A", 43), ActiveFrom: now, Confirmed: now, Missing: now, Copy: &Version{"c", 1}, Intent: &intent{Owner: "o"}}
	tests := []struct {
		name  string
		edit  func(e *entry)
		added bool
	}{
		{"nothing", func(*entry) {}, false},
		{"a later confirmation", func(e *entry) { e.Confirmed = now.Add(time.Hour) }, false},
		{"the same, written in other places", func(e *entry) { e.Copy, e.Intent = &Version{"c", 1}, &intent{Owner: "o"} }, false},
		{"another key", func(e *entry) { e.Fingerprint = "" }, true},
		{"a conflict", func(e *entry) { e.Conflict = "x" }, true},
		{"another description", func(e *entry) { e.Label = "x" }, true},
		{"another schedule", func(e *entry) { e.ActiveFrom = now.Add(1) }, true},
		{"another end", func(e *entry) { e.RetireAfter = 1 }, true},
		{"a destroy", func(e *entry) { e.Destroyed = now }, true},
		{"a copy that is left", func(e *entry) { e.CopyLeft = true }, true},
		{"no intent any more", func(e *entry) { e.Intent = nil }, true},
		{"another intent", func(e *entry) { e.Intent = &intent{Owner: "o", Unsure: true} }, true},
		{"no copy any more", func(e *entry) { e.Copy = nil }, true},
		{"another copy", func(e *entry) { e.Copy = &Version{"c", 2} }, true},
		{"an unmirrored version", func(e *entry) { e.Unmirrored = true }, true},
		{"a version that is there again", func(e *entry) { e.Missing = time.Time{} }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			signed := &manifest{generation: 7, ledger: newLedger()}
			signed.ledger.set(Version{"k", 1}, base)
			l := signed.ledger.clone()
			e := base
			tt.edit(&e)
			l.set(Version{"k", 1}, e)
			f := l.since(signed)
			require.EqualValues(t, 7, f.Generation)
			_, added := f.Keys["k"][1]
			require.Equal(t, tt.added, added)
		})
	}
	l := newLedger()
	l.set(Version{"k", 1}, base)
	require.Contains(t, l.since(nil).Keys["k"], 1, "without a manifest all of it")
}
