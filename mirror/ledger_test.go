package mirror

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// requireIndexed requires that what a ledger keeps beside its entries says of them what they say.
func requireIndexed(t *testing.T, l *ledger, want map[Version]entry) {
	t.Helper()
	require.Equal(t, want, maps.Collect(l.all()))
	copies, loose, kids := map[Version]Version{}, map[Version]bool{}, map[string]bool{}
	for v, e := range want {
		kids[v.KID] = true
		if e.Copy != nil {
			copies[*e.Copy] = v
		}
		if e.loose() {
			loose[v] = true
		}
	}
	require.Equal(t, copies, l.copies)
	require.Equal(t, loose, l.loose)
	require.Equal(t, slices.Sorted(maps.Keys(kids)), slices.Clone(l.order))
	require.Len(t, l.keys, len(kids))
}

// Whatever is changed, in whatever order, the indexes fit the entries, and no clone feels it.
func TestLedgerKeepsItsIndexes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	type snapshot struct {
		l    *ledger
		want map[Version]entry
	}
	l, want := newLedger(), map[Version]entry{}
	var before []snapshot
	for step := range 400 {
		if step%20 == 0 {
			before = append(before, snapshot{l, maps.Clone(want)})
			l = l.clone()
		}
		v := Version{string(rune('a' + random.IntN(4))), 1 + random.IntN(3)}
		if _, known := want[v]; known && random.IntN(3) == 0 {
			l.remove(v)
			delete(want, v)
			continue
		}
		e := entry{signed: random.IntN(2) == 0, doomed: random.IntN(2) == 0}
		if random.IntN(2) == 0 {
			e.Copy = &Version{"copy-of-" + v.String(), step + 1}
		}
		if random.IntN(2) == 0 {
			e.Intent = &intent{Owner: "o"}
		}
		l.set(v, e)
		want[v] = e
		requireIndexed(t, l, want)
	}
	for _, s := range before {
		requireIndexed(t, s.l, s.want)
	}
}

func TestWhatALedgerTells(t *testing.T) {
	now := time.Now()
	l := newLedger()
	l.set(Version{"b", 1}, entry{Destroyed: now, CopyLeft: true})
	l.set(Version{"b", 2}, entry{})
	l.set(Version{"b", 3}, entry{Destroyed: now})
	l.set(Version{"a", 1}, entry{Intent: &intent{}})
	l.set(Version{"gone", 1}, entry{Destroyed: now})
	require.Equal(t, 2, l.latest("b"))
	require.Equal(t, []int{1, 2, 3}, l.numbers("b"))
	require.Equal(t, []string{"a", "b"}, l.unfinished())
	require.True(t, l.extinct("gone"))
	require.False(t, l.extinct("b"))
	require.False(t, l.extinct("unknown"), "nobody knows what became of it")
	require.Equal(t, 1, l.lacking([]provider.KeyRef{{KID: "a"}}), "of b there is nothing, of gone there is nothing to lack")
}

// What this process heard from the primary outlives a reading of the files, unless they tell of another key.
func TestInherit(t *testing.T) {
	text := []byte("{}")
	old, l := newLedger(), newLedger()
	for kid, e := range map[string]entry{"heard": {heard: true, jwk: text}, "only read": {jwk: text}, "changed": {heard: true, jwk: text}, "gone": {heard: true}, "with text": {heard: true, jwk: text}} {
		old.set(Version{kid, 1}, e)
	}
	mine := []byte(`{"kid":"x"}`)
	for kid, e := range map[string]entry{"heard": {}, "only read": {}, "changed": {Fingerprint: "x"}, "with text": {jwk: mine}} {
		l.set(Version{kid, 1}, e)
	}
	l.inherit(old)
	require.Equal(t, map[Version]entry{
		{"heard", 1}: {heard: true, jwk: text}, {"only read", 1}: {}, {"changed", 1}: {Fingerprint: "x"}, {"with text", 1}: {heard: true, jwk: mine},
	}, maps.Collect(l.all()))
}

// A copy that a pin is held against has to be described as the manifest does, in everything.
func TestDescribes(t *testing.T) {
	now := time.Now()
	ref := provider.KeyRef{
		Alg: provider.Ed25519, Bits: 256, Uses: []provider.KeyUse{provider.UseSign}, Export: provider.ExportNone, Label: "l",
		Tags: map[string]string{"a": "1"}, Created: now, Imported: true, ActiveFrom: now, RetireAfter: time.Hour,
	}
	e := entry{details: detailsOf(ref), ActiveFrom: now, RetireAfter: duration(time.Hour)}
	require.True(t, e.describes(ref))
	for name, edit := range map[string]func(r *provider.KeyRef){
		"alg":          func(r *provider.KeyRef) { r.Alg = provider.X25519 },
		"bits":         func(r *provider.KeyRef) { r.Bits = 255 },
		"uses":         func(r *provider.KeyRef) { r.Uses = append(r.Uses, provider.UseVerify) },
		"export":       func(r *provider.KeyRef) { r.Export = provider.ExportPublicOnly },
		"label":        func(r *provider.KeyRef) { r.Label = "" },
		"tags":         func(r *provider.KeyRef) { r.Tags["a"] = "2" },
		"created":      func(r *provider.KeyRef) { r.Created = now.Add(1) },
		"imported":     func(r *provider.KeyRef) { r.Imported = false },
		"active from":  func(r *provider.KeyRef) { r.ActiveFrom = now.Add(1) },
		"retire after": func(r *provider.KeyRef) { r.RetireAfter = 0 },
	} {
		other := ref.Clone()
		edit(&other)
		require.False(t, e.describes(other), name)
	}
}

// Which destroyed versions go on to supersede those before them.
func TestLapsed(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name string
		e    entry
		want bool
	}{
		{"alive", entry{ActiveFrom: now}, false},
		{"destroyed while it was active", entry{ActiveFrom: now, Destroyed: now.Add(1)}, false},
		{"destroyed as it became active", entry{ActiveFrom: now, Destroyed: now}, false},
		{"destroyed before it became active", entry{ActiveFrom: now, Destroyed: now.Add(-1)}, true},
		{"destroyed with an unknown schedule", entry{Destroyed: now}, true},
	} {
		require.Equal(t, tt.want, tt.e.lapsed(), tt.name)
	}
}

// What a destroy notes before it begins: of a version that nobody has heard of all that its tombstone will need, of a destroyed
// one nothing, since an entry that is both makes the file one that is refused.
func TestWhatADestroyNotesFirst(t *testing.T) {
	now := time.Now().UTC()
	l := newLedger()
	gone, known := entry{Destroyed: now}, entry{Fingerprint: "known", ActiveFrom: now.Add(1), Confirmed: now}
	l.set(Version{"k", 1}, gone)
	l.set(Version{"k", 2}, known)
	ref := provider.KeyRef{KID: "k", Fingerprint: "new", Alg: provider.Ed25519, ActiveFrom: now, RetireAfter: time.Hour}
	d := &doomed{kid: "k", versions: map[int]provider.KeyRef{1: ref, 2: ref, 3: ref}, onPrimary: true}
	i := &intent{Owner: "o"}
	d.intend(i)(l)
	known.Intent = i
	require.Equal(t, map[Version]entry{
		{"k", 1}: gone, {"k", 2}: known,
		{"k", 3}: {Fingerprint: "new", details: detailsOf(ref), ActiveFrom: now, RetireAfter: duration(time.Hour), Intent: i, heard: true},
	}, maps.Collect(l.all()))
}
