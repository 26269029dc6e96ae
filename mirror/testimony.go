package mirror

import (
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// testimony is what the primary has said of a version that it holds, and what became of the copy.
type testimony struct {
	ref  provider.KeyRef
	jwk  []byte // its public JWK; nil: not asked for, or symmetric
	when time.Time
	copy carriage
	at   *Version // where the copy stands; nil: under the primary's name, or as before
}

// carriage is what became of a version's copy.
type carriage int

const (
	asBefore carriage = iota // nothing was done
	carried                  // the secondary holds it
	missing                  // the secondary does not hold it
)

// vouch notes what the primary says of a version. A copy that was made of a version destroyed meanwhile is noted as left
// over.
func (l *ledger) vouch(t testimony) {
	v := nameOf(t.ref)
	e, known := l.get(v)
	if t.at != nil {
		e.Copy = t.at
	}
	if !e.Destroyed.IsZero() {
		e.CopyLeft = e.CopyLeft || t.copy == carried
		l.set(v, e)
		return
	}
	was := e
	e.Conflict = ""
	if !known {
		e.Fingerprint = t.ref.Fingerprint
	} else if e.Fingerprint != t.ref.Fingerprint {
		e.Conflict = t.ref.Fingerprint
	}
	e.details, e.Evidence = detailsOf(t.ref), (*evidence)(t.ref.Evidence)
	e.ActiveFrom, e.RetireAfter, e.Confirmed = t.ref.ActiveFrom.UTC(), duration(t.ref.RetireAfter), t.when.UTC()
	if t.jwk != nil {
		e.jwk = t.jwk
	}
	switch t.copy {
	case carried:
		e.Unmirrored = false
	case missing:
		e.Unmirrored = true
	}
	e.heard, e.Missing = true, time.Time{}
	e.signed = was.signed && e.sameKey(was) && e.sameCopy(was)
	l.set(v, e)
}

// sameKey tells whether two entries vouch for the same key, described and scheduled alike.
func (e entry) sameKey(o entry) bool {
	return e.Fingerprint == o.Fingerprint && e.Conflict == o.Conflict && e.details.equal(o.details) &&
		e.ActiveFrom.Equal(o.ActiveFrom) && e.RetireAfter == o.RetireAfter
}

// miss notes that the primary no longer has the versions, of which it was not told to destroy any.
func (l *ledger) miss(now time.Time, versions []Version) {
	for _, v := range versions {
		if e, known := l.get(v); known && e.Missing.IsZero() && e.Destroyed.IsZero() {
			e.Missing = now
			l.set(v, e)
		}
	}
}
