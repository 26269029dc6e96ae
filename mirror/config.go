package mirror

import (
	"errors"
	"log/slog"
	"path/filepath"
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
	DefaultRefuseAfter      = 7 * 24 * time.Hour
	DefaultReconcileEvery   = time.Hour
)

// Config says how a Mirror works. The zero value is a good default for all but ManifestDir.
type Config struct {
	Mode Mode // empty: PublicOnly

	// NoFailOpenReads makes every read the primary's answer or its error. The secondary is still written.
	NoFailOpenReads bool

	// RefuseOrphans makes a version not found once the primary no longer has it. By default a version that was not
	// destroyed through the mirror is served from the secondary, with Provenance.Orphan set: a token that was
	// re-initialised by mistake does not take verification down with it. In mode None orphans are never served.
	RefuseOrphans bool

	// ManifestDir is a directory beside the secondary (made if missing, mode 0700) for what must outlive the process: the
	// manifest, in which the primary has signed what the secondary may be served for and what was destroyed
	// (docs/manifest.md), and destroys under way. Several processes share it if they have the same two stores.
	//
	// Without it all of that is forgotten at Close: a copy whose destroy had not reached the secondary is served again,
	// a swapped copy is not noticed during an outage, copies on a secondary without [provider.Replica] are out of reach
	// until the primary has been seen again, and every answer from the secondary is stale.
	ManifestDir string

	// Pin is the RFC 7638 thumbprint (SHA-256, base64url without padding) of the key that signs the manifest, as
	// [Mirror.ManifestPin] tells it. With it the secondary is served only for what a manifest names that this key signed,
	// or a key that it signed over to: whoever can write the files of the mirror can take keys out of service, and no more.
	// Without it answers of the secondary are [provider.Provenance].Unauthenticated.
	Pin string

	// StateDir is a directory of this reader's own (made if missing, mode 0700), out of reach of who can write the mirror's
	// files: it keeps the highest generation of the manifest that was seen, so that an older copy put back is noticed also
	// by a later process. It may not lie in ManifestDir. Several processes may share it if they have the same ManifestDir and Pin.
	// A host that writes should have one too, so that it builds on no old copy.
	StateDir string

	// RefuseUnauthenticated makes the secondary answer for nothing if there is no Pin.
	RefuseUnauthenticated bool

	// FailOverSigning makes the secondary sign during an outage, with the copies of private halves that Full brings there: of
	// keys whose export policy is secret_when_allowed, and only what a manifest verified under Pin vouches for as it would
	// for a read. It wants Mode Full, a Pin and reads that fail over. Each signature tells who made it
	// ([provider.SignWithProvenance]). Without it no signature is made but by the primary.
	FailOverSigning bool

	PrimaryTimeout   time.Duration // longest wait for a read of the primary, and for a signature; 0: DefaultPrimaryTimeout
	SecondaryTimeout time.Duration // longest delay of a read or write by the secondary; 0: DefaultSecondaryTimeout
	StaleAfter       time.Duration // age from which an answer is Provenance.Stale; 0: DefaultStaleAfter
	RefuseAfter      time.Duration // age of the manifest from which nothing is served by it; 0: DefaultRefuseAfter
	// ReconcileEvery is the time between two passes, each of which signs a new manifest; 0: DefaultReconcileEvery. Want it shorter
	// than a rotation's RetireAfter: to who reads without the primary a version is active from the first manifest on that was signed
	// after its ActiveFrom, and what it succeeds stays published until then.
	ReconcileEvery time.Duration

	// Windows are those of a rotation that names none; nil: provider.DefaultWindows; zero: the latest version only.
	Windows *provider.Windows
	// Verifiers describes who verifies with the keys, for a check of the windows, here and at each rotation; zero: no check.
	Verifiers Verifiers

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
		{"refuse after", &c.RefuseAfter, DefaultRefuseAfter},
		{"reconcile every", &c.ReconcileEvery, DefaultReconcileEvery},
	}
	for _, l := range limits {
		if *l.value < 0 {
			return c, provider.Invalidf("%s of %v: want more than 0, or 0 for %v", l.name, *l.value, l.standard)
		}
		if *l.value == 0 {
			*l.value = l.standard
		}
	}
	if c.StaleAfter > c.RefuseAfter || c.ReconcileEvery >= c.RefuseAfter {
		return c, provider.Invalidf("stale after %v, refuse after %v, reconcile every %v: a manifest would be refused before it is stale, or before the next is signed",
			c.StaleAfter, c.RefuseAfter, c.ReconcileEvery)
	}
	if !isThumbprint(c.Pin) {
		return c, provider.Invalidf("manifest pin of %d characters: want the 43 of a SHA-256 thumbprint in base64url", len(c.Pin))
	}
	if c.Pin != "" && c.ManifestDir == "" {
		return c, provider.Invalidf("manifest pin without a manifest directory: there is nothing to verify")
	}
	if c.StateDir != "" && c.ManifestDir != "" && within(c.StateDir, c.ManifestDir) {
		return c, provider.Invalidf("state directory %s in the manifest directory: want one out of reach of who can write the mirror's files", c.StateDir)
	}
	if err := c.checkSigning(); err != nil {
		return c, err
	}
	windows := provider.DefaultWindows()
	if c.Windows != nil {
		windows = *c.Windows
	}
	c.Windows = &windows
	if err := errors.Join(c.Verifiers.validate(), c.Verifiers.check(windows)); err != nil {
		return c, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// within tells whether dir is parent, or lies in it, as far as their names tell.
func within(dir, parent string) bool {
	dir, err := filepath.Abs(dir)
	parent, err2 := filepath.Abs(parent)
	if err != nil || err2 != nil {
		return false
	}
	path, err := filepath.Rel(parent, dir)
	return err == nil && filepath.IsLocal(path)
}

// checkSigning returns [provider.ErrInvalid] for FailOverSigning without what it rests on.
func (c Config) checkSigning() error {
	switch {
	case !c.FailOverSigning:
		return nil
	case c.Mode != Full:
		return provider.Invalidf("signing fails over in mode %s: want %s, in which the secondary has private halves to sign with", c.Mode, Full)
	case c.Pin == "":
		return provider.Invalidf("signing fails over without a manifest pin: nothing would prove that the primary vouches for the key, or that it was not destroyed")
	case c.NoFailOpenReads:
		return provider.Invalidf("signing fails over and reads do not: want both, or reads alone")
	}
	return nil
}

// servesOrphans tells whether the secondary is asked for what a primary that answers does not have.
func (c Config) servesOrphans() bool {
	return c.failsOver() && !c.RefuseOrphans && c.Mode != None
}

// failsOver tells whether the secondary answers for keys at all.
func (c Config) failsOver() bool {
	return !c.NoFailOpenReads && (c.Pin != "" || !c.RefuseUnauthenticated)
}
