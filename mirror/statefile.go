package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

const (
	manifestName = "manifest.jwt"
	stateName    = "state.json"
	stateFormat  = 2
	maxState     = 256 << 20 // bytes; a version takes about 500
)

// stateFile is what the ledger adds to a manifest: destroys under way, and whatever could not be signed.
//
// It is void with the next manifest, which has it all. Nobody signed it, so it may take versions of the manifest out of
// service, and can't change what the manifest says of them.
//
// The writer's output is the only form that is read: a file that its own content would not be written as again is
// refused. That finds unknown and repeated members without naming them.
type stateFile struct {
	Format     int                      `json:"format"`
	Generation int64                    `json:"generation"` // of the manifest; 0: none
	Keys       map[string]map[int]entry `json:"keys"`
}

func (f *stateFile) encode() ([]byte, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return append(data, '\n'), nil
}

// decodeState is the reverse of encode. [provider.ErrUnsupported] for the format of a later version of this package,
// [provider.ErrTampered] for whatever else it did not write.
func decodeState(data []byte) (*stateFile, error) {
	var header struct{ Format int }
	if err := json.Unmarshal(data, &header); err != nil {
		return nil, fmt.Errorf("%w: not JSON", provider.ErrTampered)
	}
	if header.Format > stateFormat {
		return nil, provider.Unsupportedf("format %d: this version reads %d", header.Format, stateFormat)
	}
	var f stateFile
	if err := json.Unmarshal(data, &f); err != nil || f.Keys == nil || f.Format != stateFormat {
		return nil, fmt.Errorf("%w: want the members format, generation and keys", provider.ErrTampered)
	}
	for kid, versions := range f.Keys {
		for n, e := range versions {
			if err := e.validate(kid, n); err != nil {
				return nil, fmt.Errorf("%w: entry %.150q: %w", provider.ErrTampered, Version{kid, n}, err)
			}
		}
	}
	again, err := f.encode()
	if err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: not as this package writes it", provider.ErrTampered)
	}
	return &f, nil
}

// join returns the ledger that a manifest and the changes since then make; either may be nil. [provider.ErrTampered] for
// changes to a manifest later than the one that is there.
func join(signed *manifest, changes *stateFile) (*ledger, error) {
	l, generation := newLedger(), int64(0)
	if signed != nil {
		l, generation = signed.ledger.clone(), signed.generation
	}
	if changes == nil || changes.Generation < generation {
		return l, nil
	}
	if changes.Generation > generation {
		return nil, fmt.Errorf("%w: it belongs to the manifest of generation %d, and there is %d", provider.ErrTampered, changes.Generation, generation)
	}
	for kid, versions := range changes.Keys {
		for n, change := range versions {
			v := Version{kid, n}
			if e, named := l.get(v); named {
				change = e.restrict(change, signed.issued)
			}
			l.set(v, change)
		}
	}
	return l, nil
}

// restrict returns e with that of an unsigned change which takes the version out of service. A destroy that the manifest
// does not tell of came after it: were it dated back, to before the version became active, the version would not have
// superseded those before it.
func (e entry) restrict(change entry, issued time.Time) entry {
	if e.Destroyed.IsZero() && !change.Destroyed.IsZero() {
		e.Destroyed = change.Destroyed
		if e.Destroyed.Before(issued) {
			e.Destroyed = issued
		}
	}
	e.Intent, e.CopyLeft = change.Intent, change.CopyLeft
	if e.Missing.IsZero() {
		e.Missing = change.Missing
	}
	if e.Conflict == "" {
		e.Conflict = change.Conflict
	}
	if !e.Destroyed.IsZero() {
		e.Copy = change.Copy
	}
	return e
}

// since returns what l adds to a manifest, which may be nil.
func (l *ledger) since(signed *manifest) *stateFile {
	f := &stateFile{Format: stateFormat, Keys: map[string]map[int]entry{}}
	base := newLedger()
	if signed != nil {
		f.Generation, base = signed.generation, signed.ledger
	}
	for v, e := range l.all() {
		if was, named := base.get(v); named && was.sameAs(e) {
			continue
		}
		if f.Keys[v.KID] == nil {
			f.Keys[v.KID] = map[int]entry{}
		}
		f.Keys[v.KID][v.Version] = e
	}
	return f
}

// sameAs tells whether o says the same of a version, the time of its last confirmation aside.
func (e entry) sameAs(o entry) bool {
	return e.sameKey(o) && e.sameCopy(o) && e.Destroyed.Equal(o.Destroyed) && e.CopyLeft == o.CopyLeft &&
		(e.Intent == nil) == (o.Intent == nil) && (e.Intent == nil || *e.Intent == *o.Intent)
}

func (e entry) sameCopy(o entry) bool {
	return e.Unmirrored == o.Unmirrored && e.Missing.Equal(o.Missing) && (e.Copy == nil) == (o.Copy == nil) && (e.Copy == nil || *e.Copy == *o.Copy)
}

func (e entry) validate(kid string, version int) error {
	if err := provider.ValidateKID(kid); err != nil {
		return err
	}
	switch {
	case version < 1:
		return fmt.Errorf("version %d, want 1 or more", version)
	case !isThumbprint(e.Fingerprint) || !isThumbprint(e.Conflict):
		return fmt.Errorf("want the base64url form of a SHA-256 hash in place of a thumbprint")
	case e.Destroyed.IsZero() && e.CopyLeft, !e.Destroyed.IsZero() && e.Intent != nil:
		return fmt.Errorf("neither alive nor destroyed")
	case e.Copy != nil:
		return provider.ValidateKID(e.Copy.KID)
	}
	return nil
}

// isThumbprint tells whether s is empty or looks like an RFC 7638 thumbprint with SHA-256.
func isThumbprint(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s == "" || len(s) == 43 && strings.Trim(s, alphabet) == ""
}

// duration is a time.Duration that stands in JSON as time.Duration.String writes it.
type duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}
