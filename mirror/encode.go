package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// encode writes the entries as a JSON object of objects, in order. It keeps the text of each kid, since most of them are the
// same in the next manifest.
func (l *ledger) encode(b *bytes.Buffer) error {
	b.WriteByte('{')
	for i, kid := range slices.Sorted(maps.Keys(l.keys)) {
		if i > 0 {
			b.WriteByte(',')
		}
		text, written := l.texts[kid]
		if !written {
			var err error
			if text, err = json.Marshal(l.keys[kid]); err != nil {
				return fmt.Errorf("versions of %q: %w", kid, err)
			}
			l.texts[kid] = text
		}
		b.WriteByte('"') // a kid has no character that JSON would escape
		b.WriteString(kid)
		b.WriteString(`":`)
		b.Write(text)
	}
	b.WriteByte('}')
	return nil
}

// published returns the JWKs of the versions that stand in JWKS at now, in order of kid and version.
func (l *ledger) published(now time.Time) (keys [][]byte) {
	for _, kid := range slices.Sorted(maps.Keys(l.keys)) {
		single := len(l.keys[kid]) == 1 // the most frequent case: nothing supersedes it
		for _, n := range l.numbers(kid) {
			e := l.keys[kid][n]
			if e.jwk != nil && e.servable() && e.Missing.IsZero() && (single || l.state(now, e.ref(Version{kid, n}), nil).Published()) {
				keys = append(keys, e.jwk)
			}
		}
	}
	return keys
}

// servable tells whether nothing speaks against serving the version's copy.
func (e entry) servable() bool {
	return e.Destroyed.IsZero() && e.Intent == nil && e.Conflict == "" && !e.Unmirrored
}

// describes tells whether ref says of the version what the entry says.
func (e entry) describes(ref provider.KeyRef) bool {
	return e.details.equal(detailsOf(ref)) && e.ActiveFrom.Equal(ref.ActiveFrom) && time.Duration(e.RetireAfter) == ref.RetireAfter
}

// ref describes v as the primary did.
func (e entry) ref(v Version) provider.KeyRef {
	return provider.KeyRef{
		KID: v.KID, Version: v.Version, Alg: e.Alg, Bits: e.Bits, Uses: e.Uses, Export: e.Export, Label: e.Label, Tags: e.Tags,
		Created: e.Created, ActiveFrom: e.ActiveFrom, RetireAfter: time.Duration(e.RetireAfter), Fingerprint: e.Fingerprint, Imported: e.Imported,
	}
}
