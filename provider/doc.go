// Package provider is the contract between programs that use keys and the stores that hold them.
//
// A program names a store package once, where it opens the store ([Open], or the store's own constructor), and uses
// only this package from there on. Package hsm is a store on a PKCS#11 token, softfile one in a directory, and mirror
// one made of two others. This package does no I/O and needs no cgo.
//
// # Keys and versions
//
// A key has a name, the kid, and versions 1, 2, 3 and so on. Rotation adds a version. A version number is never given
// to another key, also not after the version was destroyed. The JWK of a version has the kid "<kid>.<version>".
// Wherever a method takes a version, 0 means the latest, except in DestroyKey.
//
// # Answers and outages
//
// [ErrNotFound] is an answer; [ErrUnavailable] is the absence of one. A store never reports one as the other. Every read
// carries its [Provenance]: which store answered, as of when, and whether the answer is stale.
//
// # More ability
//
// What only some stores can do stands in small optional interfaces ([Signing], [Decrypting], [Encrypting],
// [Authenticating], [KeyAgreement], [Exporting], [Replica], [Labelling], [Checking], [Resolving]; [ProvenanceSigner] of a signer).
// A type assertion finds them; a store that wraps another may satisfy one and still answer [ErrUnsupported].
//
// # Secrets
//
// PINs, passphrases and key bytes appear in no error, no log record and no String method of this module. Text that
// failed to parse as a secret counts as a secret.
//
// # Concurrency and contexts
//
// Every method may be called from many goroutines at once. A context that has ended makes a method return the context's
// error before anything is touched. Slices, maps and structs are cloned at the border, in both directions.
package provider
