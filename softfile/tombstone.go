package softfile

import (
	"errors"
	"fmt"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// tombstones is the content of destroyed.json: the versions of a key that were destroyed, in ascending order. A version
// is destroyed from the moment that it stands here, whether or not its record was removed yet. So one file that changes
// in one step decides, also when several versions are destroyed at once.
type tombstones struct {
	Format   int         `json:"format"`
	KID      string      `json:"kid"`
	Versions []tombstone `json:"versions"`
}

// tombstone is a destroyed version. It keeps the schedule if the version had become active: see [provider.Schedule].
type tombstone struct {
	Version     int        `json:"version"`
	Destroyed   time.Time  `json:"destroyed"`
	ActiveFrom  *time.Time `json:"active_from,omitempty"` // nil: it never became active
	RetireAfter seconds    `json:"retire_after,omitempty"`
}

// UnmarshalJSON refuses what decodeStrict refuses.
func (t *tombstone) UnmarshalJSON(data []byte) error {
	type plain tombstone
	return decodeStrict(data, (*plain)(t))
}

func newTombstone(r *record, now time.Time) tombstone {
	t := tombstone{Version: r.Version, Destroyed: now.UTC().Truncate(time.Second)}
	if !now.Before(r.ActiveFrom) {
		t.ActiveFrom, t.RetireAfter = &r.ActiveFrom, r.RetireAfter
	}
	return t
}

// schedule returns the schedule of a version that had become active.
func (t tombstone) schedule() (s provider.Schedule, kept bool) {
	if t.ActiveFrom == nil {
		return s, false
	}
	return provider.Schedule{ActiveFrom: *t.ActiveFrom, RetireAfter: time.Duration(t.RetireAfter), Destroyed: true}, true
}

func encodeTombstones(kid string, versions []tombstone) ([]byte, error) {
	b, err := encodeFile(tombstones{formatVersion, kid, versions})
	if err == nil && len(b) > maxTombstone {
		err = provider.Unsupportedf("destroy of more versions of %q: its tombstones would take more than %d bytes", kid, maxTombstone)
	}
	return b, err
}

func parseTombstones(kid string, data []byte) ([]tombstone, error) {
	var t tombstones
	if err := decodeFile(data, &t, &t.Format); err != nil {
		return nil, err
	}
	if t.KID != kid {
		return nil, fmt.Errorf("tombstones of %.130q: want %q, as the path says", t.KID, kid)
	}
	if t.Versions == nil {
		return nil, errors.New("tombstones without the member versions")
	}
	last := 0
	for _, v := range t.Versions {
		if v.Version <= last || v.Version > maxVersion || v.Destroyed.IsZero() || v.ActiveFrom == nil && v.RetireAfter != 0 {
			return nil, errors.New("tombstones: out of order, or without version, time or schedule")
		}
		last = v.Version
	}
	return t.Versions, nil
}
