// Package softfile is a store of keys in a directory: one small JSON file for each version of a key.
//
// Open it with a passphrase to make, import and use private keys; they stand in their files encrypted. Open it without one
// to serve public keys, which is all that a mirror's secondary in mode public_only needs: it can list, describe and serve
// every key, import and copy public halves and destroy versions, and answers [provider.ErrAuth] to whatever needs a
// private half. [provider.KeyRef].Private says whether this opened store can use the private half.
//
// # What a write promises
//
// Every write is all or nothing, and durable when it returns: after a crash or a power cut the store holds the old state
// or the new one. Version numbers are never given twice, also not after a destroy, by another process, or where a
// record was damaged.
//
// # Processes
//
// Several processes may have one directory open. Writers exclude each other by a lock that ends with its process; a wait
// for it ends with the context. Readers take no lock and see no write half done. A store answers from memory. It looks at
// its directory once a second at most, and at once for what it does not know, so that it shows what another process
// wrote within a second, or two under load; its own writes show at once.
//
// The directory must lie on a file system with working flock(2) between all its users, and with fsync for durability.
// Where names differ not in case (macOS, FAT), two kids must not either: the second is refused with [provider.ErrTampered].
//
// # Damaged and foreign files
//
// A file that is not exactly what this package writes is reported with its path, in KeyList.Problems and once in the log.
// It is never served, changed or removed, hides no other version, and keeps its number. Asking for such a version by name
// is [provider.ErrTampered]. Who can write the files can still remove them, or put an old copy back; package mirror
// guards against that.
//
// Who mends or adds files by hand touches the store's directory afterwards, so that every open store looks again.
//
// # Export policies
//
// A key whose policy is none or public_only is stored and used like any other. The policy bounds ExportKey and
// ExportEncrypted, and a mirror on top of the store. A copy of the directory is a copy of everything.
//
// # Moving in and out
//
// ExportPublic and ExportEncrypted write a whole store into one JWK Set, from which ImportSet makes the same versions in
// another store. ImportOriginal reads the directory of the Python program that this one succeeds. Each reports what it
// did not take, and why; none overwrites anything.
//
// # Limitations
//
// Private keys are in the memory of the process while a signer or cipher of theirs is in use. Go can't wipe all copies of
// them; what can be wiped is. A destroyed record's bytes may stay on the disk, encrypted: overwriting does not reach them on
// a journaling file system or a flash disk. Giving up every copy of the passphrase does.
//
// docs/softfile-format.md describes the files.
package softfile
