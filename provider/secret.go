package provider

import (
	"fmt"
	"log/slog"
	"slices"
)

const redacted = "[redacted]"

// Secret holds bytes that must not be seen: a PIN, a passphrase, a private key. It prints as [redacted] through fmt,
// slog, encoding/json and every encoder that asks for text, also as a member of another struct. Copies of a Secret
// share the bytes, so that Wipe reaches them all. The zero value is empty.
type Secret struct{ box *secretBox }

// secretBox stands behind a pointer because fmt prints the unexported members of a struct without asking them, and holds
// another one because %s of a pointer in such a member prints what it points to, one step deep.
type secretBox struct{ b *[]byte }

// NewSecret returns a Secret that holds a copy of b. The caller may wipe b.
func NewSecret(b []byte) Secret {
	b = slices.Clone(b)
	return Secret{&secretBox{&b}}
}

// Expose returns the bytes themselves, valid until Wipe. Neither change nor keep them.
func (s Secret) Expose() []byte {
	if s.box == nil {
		return nil
	}
	return *s.box.b
}

// Empty tells whether there are no bytes, or no longer any.
func (s Secret) Empty() bool { return len(s.Expose()) == 0 }

// Wipe overwrites the bytes with zeros and empties the Secret. Copies that the runtime made earlier are out of reach.
func (s Secret) Wipe() {
	if s.box == nil {
		return
	}
	clear(*s.box.b)
	*s.box.b = nil
}

// String returns [redacted].
func (Secret) String() string { return redacted }

// GoString returns [redacted].
func (Secret) GoString() string { return redacted }

// Format writes [redacted] for every verb.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue returns [redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns [redacted].
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary returns [redacted], so that encoding/gob writes no more than that.
func (Secret) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }
