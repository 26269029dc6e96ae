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
	stateName   = "state.json"
	stateFormat = 1
	maxState    = 256 << 20 // bytes; a version takes about 200
)

// stateFile is the ledger as a file.
//
// The writer's output is the only form that is read: a file that its own content would not be written as again is
// refused. That finds unknown and repeated members without naming them.
type stateFile struct {
	Format int                      `json:"format"`
	Keys   map[string]map[int]entry `json:"keys"`
}

func encodeState(l *ledger) ([]byte, error) {
	data, err := json.Marshal(stateFile{stateFormat, l.keys})
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return append(data, '\n'), nil
}

// decodeState is the reverse of encodeState. [provider.ErrUnsupported] for the format of a later version of this package,
// [provider.ErrTampered] for whatever else it did not write.
func decodeState(data []byte) (*ledger, error) {
	var header struct{ Format int }
	if err := json.Unmarshal(data, &header); err != nil {
		return nil, fmt.Errorf("%w: not JSON", provider.ErrTampered)
	}
	if header.Format > stateFormat {
		return nil, provider.Unsupportedf("format %d: this version reads %d", header.Format, stateFormat)
	}
	var f stateFile
	if err := json.Unmarshal(data, &f); err != nil || f.Keys == nil {
		return nil, fmt.Errorf("%w: want the members format and keys", provider.ErrTampered)
	}
	l := newLedger()
	for kid, versions := range f.Keys {
		for n, e := range versions {
			if err := e.validate(kid, n); err != nil {
				return nil, fmt.Errorf("%w: entry %.150q: %w", provider.ErrTampered, Version{kid, n}, err)
			}
			l.set(Version{kid, n}, e)
		}
	}
	again, err := encodeState(l)
	if err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: not as this package writes it", provider.ErrTampered)
	}
	return l, nil
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
