package mirror

import "time"

// Report is what [Mirror.Reconcile] found and did. All lists are in ascending order.
type Report struct {
	// At is when the pass ended; zero if it did not come to its end.
	At time.Time
	// Versions is how many versions the primary holds.
	Versions int
	// Copied is what the secondary lacked, or held otherwise, and now holds.
	Copied []Version
	// Finished is the destroys that had been left undone and are done now, on both stores.
	Finished []Version
	// Unmirrored is what the secondary should hold and does not.
	Unmirrored []Unmirrored
	// Orphans is what the secondary holds and the primary says it does not, without a destroy through the mirror. They are
	// reported and never deleted: an absence proves nothing. DestroyKey destroys them.
	Orphans []Version
	// Conflicts is what stands under one name with two thumbprints. It is never copied over; during an outage it is refused
	// with provider.ErrTampered.
	Conflicts []Conflict
	// Unsigned is why no new manifest could be signed; nil if one was, or if the primary can't sign at all ([Status].Manifest).
	Unsigned error
	// Problems is what either store holds and can't read, and versions that the primary holds again after their destroy.
	Problems []error
}

// Unmirrored is a version that the secondary should hold and does not.
type Unmirrored struct {
	Version Version
	Reason  string
}

// Conflict is one version with two thumbprints; those of symmetric keys are empty.
type Conflict struct {
	Version   Version
	Vouched   string // what the primary said first
	Primary   string // what it says now
	Secondary string // what the secondary holds; empty if nothing
}
