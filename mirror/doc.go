// Package mirror is a store made of two: a primary, which is the system of record, and a secondary, which keeps public keys
// at hand while the primary is away.
//
// # What to decide
//
// Config.ManifestDir: give one. What was destroyed through the mirror stays destroyed only as long as the mirror remembers it.
//
// Config.Pin and Config.StateDir: give them to whoever reads. With the pin nothing is served from the secondary that the
// primary did not vouch for in a signed manifest; without it whoever can write the mirror's files can have their own key
// accepted by every verifier, and the answers are marked Provenance.Unauthenticated. The directory is the reader's own, and
// lets it notice an old copy put back. Give whoever writes one too: a Mirror without it that is made on an old copy carries that on,
// and has what was destroyed since signed anew; one whose ManifestDir was lost begins at generation 1, which readers refuse that have
// seen a later one.
//
// Config.Mode: what is copied to the secondary. Public halves by default; private ones only in mode full, and only of keys
// whose export policy is secret_when_allowed.
//
// Config.FailOverSigning: whether the secondary signs while the primary is away, in mode full. Off by default: a private half
// that signs from a disk is no better kept than the disk and its passphrase.
//
// Config.RefuseOrphans: what becomes of a version that the primary no longer has and that was not destroyed through the
// mirror. By default it is served and marked (Provenance.Orphan), so that a token emptied by mistake does not take
// verification down; refused, a key that someone destroyed on the token itself is gone at once.
//
// # Writes
//
// Writes go to the primary first, and its error is the caller's. What the primary has made stands. The answer's Mirroring
// says whether the secondary has it too, and if not, why; it is brought there later without being asked. A secondary that
// hangs or fails delays a write by Config.SecondaryTimeout and never fails it.
//
// DestroyKey carries a destroy to both stores, through crashes ([Mirror.DestroyKey]). A version destroyed through the mirror
// is not found from then on, whatever either store says.
//
// # Reads
//
// The primary answers if it can. The secondary answers in its place
//
//   - during an outage: the primary answered [provider.ErrUnavailable], or not within Config.PrimaryTimeout;
//   - when the primary says that it has no such version, and orphans are served.
//
// Every other error is the primary's answer and goes to the caller: a wrong PIN is no outage. The first read that meets an
// outage waits for the primary, at most Config.PrimaryTimeout; reads after it go straight to the secondary, until a probe in
// the background, after 1 s and then at intervals that grow by half up to 30 s, or any write, finds the primary back. Without an
// answer from the primary a key that the secondary lacks is [provider.ErrUnavailable], not [provider.ErrNotFound]: nobody
// knows. That is so for symmetric keys in mode public_only, of which there is nothing to copy.
//
// A copy is served only if its thumbprint is the one that the primary gave the version, as far as the mirror has heard of
// it, and with a pin only if the manifest names it just so; else the answer is [provider.ErrTampered], and lists leave the
// copy out and name it in their Problems. A JWK Set is refused whole rather than served with a gap.
// JWKS is the union of both stores without duplicates, and the primary wins. States are evaluated on every read over all
// versions that the mirror knows: during an outage retiring goes on, and a version that was to become active stays pending.
//
// Every answer carries its [provider.Provenance]: Primary, as the primary gave it; Secondary, with the time of the primary's
// last confirmation of the version, the reason, and Stale past Config.StaleAfter; Merged for lists with orphans.
//
// # Signing
//
// What needs a private half is the primary's alone and does not fail over, with one exception. With Config.FailOverSigning the
// secondary signs during an outage (no other error leads there) if the version's export policy is secret_when_allowed, the
// secondary holds the private half, and the version could be served by the manifest: neither destroyed nor about to be, nor
// missing on the primary, of the very thumbprint and description that the manifest names, under a manifest that is not too
// old. That is looked at for each signature, and the first signature with a copy is one of a nonce, which must verify. Else
// the answer is that of a read, and [provider.ErrUnavailable] where only the private half is lacking. Version 0 is the active
// version, as the schedule has it during an outage. [provider.SignWithProvenance] tells who signed, and how long ago the primary
// last confirmed the key; Status counts what the secondary signed, and the log has the first signature of each outage. When the
// primary answers again, it signs again. A destroy asked for during the outage fails and changes nothing, as ever: to stop a
// key from signing then, destroy its copy on the secondary. Decryption, encryption, MACs and key agreement stay with the
// primary.
//
// # The manifest
//
// With every change, and every Config.ReconcileEvery, the primary signs a statement of all that may be served and all that was
// destroyed, with a key of its own under the reserved kid [ManifestKID]. docs/manifest.md describes it, for verifiers of
// other makes too. Nothing is served by one that is Config.RefuseAfter old, or of a lower generation than one seen before.
// A primary that can't sign leaves the mirror unauthenticated; [Mirror.Status] says so.
//
// # Mode none
//
// A Mirror in mode none never writes to its secondary, which something else keeps: another host's Mirror, or a copy made by
// hand. During an outage reads go to what it holds under the primary's names, less what was destroyed through this Mirror.
// Otherwise the primary's answers are final: nothing of the secondary gets into them.
//
// # Secondaries
//
// A secondary that satisfies [provider.Replica] keeps kid, version, schedule, policy and tags. Any other one stores each
// version as a key of its own, whose place the state keeps; every answer carries the primary's names.
//
// # Concurrency and processes
//
// One change of a key at a time goes through a Mirror; changes of other keys, and reads, do not wait for it. Processes that
// mirror the same stores may share a ManifestDir: destroys exclude each other, and a read during an outage notices what another
// process destroyed within 100 ms. A Mirror has one goroutine, for probes and repairs, which ends in Close.
//
// # Limitations
//
// Time limits rest on the stores: one that does not return when its context ends holds up its caller, and Close.
package mirror
