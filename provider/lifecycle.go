package provider

import "time"

// State is where a version stands between its making and its end.
type State string

// The states of a version, in order.
const (
	Pending   State = "pending"   // published, does not sign yet
	Active    State = "active"    // published, signs
	Retiring  State = "retiring"  // published, signs no more
	Retired   State = "retired"   // not published
	Destroyed State = "destroyed" // gone
)

// Published tells whether a version in the state stands in JWKS.
func (s State) Published() bool { return s == Pending || s == Active || s == Retiring }

// Schedule is what a version's state follows from. A store keeps the schedule of a destroyed version that had become
// active for as long as it holds a version before it, so that no destroy gives a retired version its place back.
type Schedule struct {
	ActiveFrom  time.Time
	RetireAfter time.Duration
	Destroyed   bool
}

// States returns the state at now of each version of one key. The schedules are in ascending order of their versions.
//
// A version is active from its ActiveFrom until that of a version after it, then retiring until the later version's
// RetireAfter has passed too, then retired. The earliest end wins where several later versions are active.
func States(now time.Time, versions []Schedule) []State {
	states := make([]State, len(versions))
	superseded := false
	var end time.Time // when what comes before is retired
	for i := len(versions) - 1; i >= 0; i-- {
		v := versions[i]
		switch {
		case v.Destroyed:
			states[i] = Destroyed
		case superseded && !now.Before(end):
			states[i] = Retired
		case superseded:
			states[i] = Retiring
		case now.Before(v.ActiveFrom):
			states[i] = Pending
		default:
			states[i] = Active
		}
		if now.Before(v.ActiveFrom) {
			continue
		}
		if e := v.ActiveFrom.Add(v.RetireAfter); !superseded || e.Before(end) {
			end = e
		}
		superseded = true
	}
	return states
}

// Schedule returns the version's schedule.
func (r KeyRef) Schedule() Schedule {
	return Schedule{ActiveFrom: r.ActiveFrom, RetireAfter: r.RetireAfter}
}
