package hsm

import "time"

// pace says how often things are tried. Each wait between two attempts to connect is shortened at random, by half at most.
type pace struct {
	firstRetry time.Duration // before the first attempt to connect to a token that was lost, or the second one
	steady     time.Duration // a connection that has lasted so long is made anew at once: it may have been a moment's trouble
	lastRetry  time.Duration // the waits grow up to this
	lockedOut  time.Duration // how long a refused PIN stands before its source is asked again
	probe      time.Duration // how long a token in doubt may take to say that it is there; Config.Timeout if that is less
	readAgain  time.Duration // before an object is read again that the token fails to show; four times as long before each further try
}

// grown is the wait after the given one. It grows by half: a token that comes back after an outage then waits for about a third of that to
// be noticed.
func (p pace) grown(wait time.Duration) time.Duration { return min(wait+wait/2, p.lastRetry) }

var defaultPace = pace{firstRetry: time.Second, steady: 10 * time.Second, lastRetry: 30 * time.Second, lockedOut: 10 * time.Second, probe: 2 * time.Second,
	readAgain: 20 * time.Millisecond}
