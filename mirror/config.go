package mirror

import (
	"log/slog"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Mode says what a Mirror copies to its secondary.
type Mode string

// The modes. The empty Mode means PublicOnly.
const (
	// PublicOnly copies the public half of every version. Nothing private is read from the primary.
	PublicOnly Mode = "public_only"
	// Full copies the private or secret half too, of versions whose export policy is secret_when_allowed and that the
	// primary hands out; of all others the public half, and the answer says why.
	Full Mode = "full"
	// None copies nothing and never writes to the secondary, which something else keeps. During an outage reads go to
	// what it holds under the primary's names; the answer of a primary that is there is final.
	None Mode = "none"
)

// The default limits.
const (
	DefaultPrimaryTimeout   = 5 * time.Second
	DefaultSecondaryTimeout = 5 * time.Second
	DefaultStaleAfter       = 24 * time.Hour
)

// Config says how a Mirror works. The zero value is a good default for all but StateDir.
type Config struct {
	Mode Mode // empty: PublicOnly

	// NoFailOpenReads makes every read the primary's answer or its error. The secondary is still written.
	NoFailOpenReads bool

	// RefuseOrphans makes a version not found once the primary no longer has it. By default a version that was not
	// destroyed through the mirror is served from the secondary, with Provenance.Orphan set: a token that was
	// re-initialised by mistake does not take verification down with it. In mode None orphans are never served.
	RefuseOrphans bool

	// StateDir is a directory of the Mirror's own (made if missing, mode 0700) for what must outlive the process: which
	// versions were destroyed, which thumbprint the primary gave each version, under which name a secondary keeps its
	// copy, and when the primary last confirmed it. Several processes may share it if they have the same two stores.
	//
	// Without it all of that is forgotten at Close: a copy whose destroy had not reached the secondary is served again,
	// a swapped copy is not noticed during an outage, copies on a secondary without [provider.Replica] are out of reach
	// until the primary has been seen again, and every answer from the secondary is stale.
	StateDir string

	PrimaryTimeout   time.Duration // longest wait for a read of the primary; 0: DefaultPrimaryTimeout
	SecondaryTimeout time.Duration // longest delay of a read or write by the secondary; 0: DefaultSecondaryTimeout
	StaleAfter       time.Duration // age from which an answer is Provenance.Stale; 0: DefaultStaleAfter

	Logger *slog.Logger // hears of changes of state, once each; nil: no log
}

// normalize checks c and returns a copy with the defaults filled in. [provider.ErrInvalid] for a rule that is broken.
func (c Config) normalize() (Config, error) {
	switch c.Mode {
	case "":
		c.Mode = PublicOnly
	case PublicOnly, Full, None:
	default:
		return c, provider.Invalidf("mode %.40q: want %s, %s or %s", string(c.Mode), PublicOnly, Full, None)
	}
	limits := []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"primary timeout", &c.PrimaryTimeout, DefaultPrimaryTimeout},
		{"secondary timeout", &c.SecondaryTimeout, DefaultSecondaryTimeout},
		{"stale after", &c.StaleAfter, DefaultStaleAfter},
	}
	for _, l := range limits {
		if *l.value < 0 {
			return c, provider.Invalidf("%s of %v: want more than 0, or 0 for %v", l.name, *l.value, l.standard)
		}
		if *l.value == 0 {
			*l.value = l.standard
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// servesOrphans tells whether the secondary is asked for what a primary that answers does not have.
func (c Config) servesOrphans() bool {
	return !c.NoFailOpenReads && !c.RefuseOrphans && c.Mode != None
}
