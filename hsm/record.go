package hsm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// application is the CKA_APPLICATION of our records.
const application = "hsmmirror"

// recordFormat is the version of the record's format. A record of a newer one is a problem, and keeps its version number taken.
const recordFormat = 1

// stage is how far a version has come.
type stage string

const (
	claimed   stage = "claimed"   // the number is taken and the key being made
	live      stage = "live"      // the key is whole: its pair was proved, its fingerprint is in the record
	destroyed stage = "destroyed" // a tombstone: the number stays taken
)

// record is the value of our CKO_DATA objects, as JSON: what PKCS#11 has no attribute for. A record is never changed; the next
// stage is a new object, after which the old one is destroyed. Of several records of one version the furthest stage counts.
//
// It is CKA_PRIVATE, so that only who logs in can write one: whoever could write it could make a key of theirs ours.
type record struct {
	Format  int    `json:"format"`
	Stage   stage  `json:"stage"`
	KID     string `json:"kid"`
	Version int    `json:"version"`
	ID      string `json:"id"` // CKA_ID of the key's objects in hexadecimal

	Alg         provider.KeyAlg       `json:"alg"`
	Bits        int                   `json:"bits"`
	Uses        []provider.KeyUse     `json:"uses"`
	Export      provider.ExportPolicy `json:"export_policy"`
	Label       string                `json:"label,omitempty"`
	Tags        map[string]string     `json:"tags,omitempty"`
	Created     time.Time             `json:"created"`
	ActiveFrom  time.Time             `json:"active_from"`
	RetireAfter int64                 `json:"retire_after"` // seconds
	Imported    bool                  `json:"imported,omitempty"`
	PublicOnly  bool                  `json:"public_only,omitempty"` // imported without a private half
	Fingerprint string                `json:"fingerprint,omitempty"` // of a live pair
}

func (r record) marshal() ([]byte, error) { return json.Marshal(r) }

// parseRecord reads a record and checks what the rest relies on.
func parseRecord(b []byte) (*record, error) {
	var r record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		var probe struct{ Format int }
		if json.Unmarshal(b, &probe) == nil && probe.Format > recordFormat {
			return nil, fmt.Errorf("%w: record of format %d: want %d", provider.ErrUnsupported, probe.Format, recordFormat)
		}
		return nil, fmt.Errorf("%w: record: %w", provider.ErrTampered, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: record: want one JSON object and nothing after it", provider.ErrTampered)
	}
	return &r, r.check()
}

func (r record) check() error {
	id, err := hex.DecodeString(r.ID)
	switch {
	case r.Format != recordFormat:
		return fmt.Errorf("%w: record of format %d: want %d", provider.ErrUnsupported, r.Format, recordFormat)
	case r.Stage != claimed && r.Stage != live && r.Stage != destroyed:
		return fmt.Errorf("%w: record with stage %.20q", provider.ErrTampered, string(r.Stage))
	case provider.ValidateKID(r.KID) != nil || r.Version < 1 || r.RetireAfter < 0:
		return fmt.Errorf("%w: record with kid %.40q, version %d, retire_after %d", provider.ErrTampered, r.KID, r.Version, r.RetireAfter)
	case err != nil || len(id) == 0:
		return fmt.Errorf("%w: record with id %.40q: want hexadecimal", provider.ErrTampered, r.ID)
	}
	if r.Stage == live && r.Alg.Class() == provider.Asymmetric && r.Fingerprint == "" {
		return fmt.Errorf("%w: record of a pair without its fingerprint", provider.ErrTampered)
	}
	spec := r.spec()
	if _, err := spec.Normalize(); err != nil {
		return fmt.Errorf("%w: record: %v", provider.ErrTampered, err)
	}
	return nil
}

func (r record) spec() provider.KeySpec {
	return provider.KeySpec{KID: r.KID, Alg: r.Alg, Bits: r.Bits, Uses: r.Uses, Export: r.Export, Label: r.Label, Tags: r.Tags}
}

// template is the data object that holds the record.
func (r record) template() ([]attribute, error) {
	value, err := r.marshal()
	if err != nil {
		return nil, err
	}
	return []attribute{
		{ckaClass, uint(ckoData)}, {ckaToken, true}, {ckaPrivate, true},
		{ckaApplication, application}, {ckaLabel, r.KID}, {ckaValue, value},
	}, nil
}

// recordsOf matches the records of a key.
func recordsOf(kid string) []attribute {
	return []attribute{{ckaClass, uint(ckoData)}, {ckaApplication, application}, {ckaLabel, kid}}
}

// objectLabel is the CKA_LABEL of a version's key objects.
func objectLabel(kid string, version int) string { return fmt.Sprintf("%s.v%d", kid, version) }

// idBytes returns the CKA_ID.
func (r record) idBytes() []byte {
	b, _ := hex.DecodeString(r.ID) // checked by parseRecord
	return b
}

// active tells whether the version had become active by now.
func (r record) active(now time.Time) bool { return !now.Before(r.ActiveFrom) }

func (r record) schedule() provider.Schedule {
	return provider.Schedule{ActiveFrom: r.ActiveFrom, RetireAfter: r.retireAfter(), Destroyed: r.Stage == destroyed}
}

func (r record) retireAfter() time.Duration { return time.Duration(r.RetireAfter) * time.Second }
