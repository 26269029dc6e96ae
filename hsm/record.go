package hsm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// application is the CKA_APPLICATION of our records.
const application = "hsmmirror"

const (
	// recordFormat is the version of the record's format. A record of a newer one is a problem, and keeps its key from getting new
	// versions: it may hold the highest number.
	recordFormat = 1

	// maxRecord is the most bytes that a record can have: 32 tags and a label, each byte of them escaped by JSON as six.
	maxRecord = 64 << 10
)

// stage is how far a version has come.
type stage string

const (
	claimed   stage = "claimed"   // the number is taken and the key being made
	live      stage = "live"      // the key is whole: its pair was proved, its fingerprint is in the record
	destroyed stage = "destroyed" // a tombstone: the number stays taken
)

// stages are in the order in which a version goes through them.
var stages = []stage{claimed, live, destroyed}

// record says, as JSON on the token (keeper.go), what PKCS#11 has no attribute for. A record is never changed; the next stage is a
// new object, after which the old one is destroyed. Of several records of one version the furthest stage counts.
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

// parseRecord reads a record and checks what the rest relies on. ErrUnsupported for one of a newer format, ErrTampered for what is
// no record.
func parseRecord(b []byte) (*record, error) {
	if len(b) > maxRecord {
		return nil, damagedf("record of %d bytes: want at most %d", len(b), maxRecord)
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		var probe struct{ Format int }
		if json.Unmarshal(b, &probe) == nil && probe.Format > recordFormat {
			return nil, newerFormat(probe.Format)
		}
		return nil, damagedf("record: %.200s", err.Error())
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, damagedf("record: want one JSON object and nothing after it")
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	r.Created, r.ActiveFrom = r.Created.UTC(), r.ActiveFrom.UTC()
	return &r, nil
}

func newerFormat(n int) error {
	return provider.Unsupportedf("record of format %d: want %d", n, recordFormat)
}

func (r record) check() error {
	id, err := hex.DecodeString(r.ID)
	switch {
	case r.Format > recordFormat:
		return newerFormat(r.Format)
	case r.Format != recordFormat:
		return damagedf("record of format %d: want %d", r.Format, recordFormat)
	case !slices.Contains(stages, r.Stage):
		return damagedf("record with stage %.20q: want one of %v", string(r.Stage), stages)
	case provider.ValidateKID(r.KID) != nil || r.Version < 1:
		return damagedf("record with kid %.40q, version %d", r.KID, r.Version)
	case err != nil || len(id) == 0 || hex.EncodeToString(id) != r.ID:
		return damagedf("record with id %.40q: want hexadecimal in lower case", r.ID)
	case !inUTC(r.Created) || !inUTC(r.ActiveFrom) || r.RetireAfter < 0 || r.RetireAfter > maxRetireAfter:
		return damagedf("record with created %v, active_from %v, retire_after %d: want times in UTC and seconds", r.Created, r.ActiveFrom, r.RetireAfter)
	case r.Stage == live && r.Alg.Class() == provider.Asymmetric && r.Fingerprint == "":
		return damagedf("record of a pair without its fingerprint")
	}
	if _, err := r.spec().Normalize(); err != nil {
		return damagedf("record: %v", err)
	}
	return nil
}

func inUTC(t time.Time) bool {
	_, offset := t.Zone()
	return offset == 0
}

func (r record) spec() provider.KeySpec {
	return provider.KeySpec{KID: r.KID, Alg: r.Alg, Bits: r.Bits, Uses: r.Uses, Export: r.Export, Label: r.Label, Tags: r.Tags}
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

// maxRetireAfter is what a time.Duration holds, in seconds.
const maxRetireAfter = int64(math.MaxInt64 / time.Second)

// wholeSeconds returns d in seconds, rounded up: what is published for a time is so for all of it.
func wholeSeconds(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	return min(seconds, maxRetireAfter)
}

func (r record) retireAfter() time.Duration { return time.Duration(r.RetireAfter) * time.Second }
