package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// encode writes the entries as a JSON object of objects, in order. It keeps the text of each kid, since most of them are the
// same in the next manifest.
func (l *ledger) encode(b *bytes.Buffer) error {
	b.WriteByte('{')
	for i, kid := range l.order {
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

// published yields the JWKs of the versions that stand in JWKS at now, in order of kid and version.
func (l *ledger) published(now time.Time) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, kid := range l.order {
			if versions := l.keys[kid]; len(versions) == 1 { // the most frequent case: nothing supersedes it
				for _, e := range versions {
					if e.publishable() && !yield(e.jwk) {
						return
					}
				}
				continue
			}
			for _, n := range l.numbers(kid) {
				e := l.keys[kid][n]
				if e.publishable() && l.state(now, e.ref(Version{kid, n}), nil).Published() && !yield(e.jwk) {
					return
				}
			}
		}
	}
}

// publishable tells whether only the schedule can keep the version out of JWKS.
func (e entry) publishable() bool { return e.jwk != nil && e.servable() && e.Missing.IsZero() }

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
