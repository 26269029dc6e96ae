// Package hsm is a [provider.Provider] on one PKCS#11 token: an HSM, a TPM, a YubiHSM, SoftHSM2.
//
// # Which constructor
//
// [Open] connects before it returns: a command, or a service that should not start without its token. [New] connects at the
// first call: a service that must start during an outage, for instance below a mirror.
//
// # What stands on the token
//
// The token is the only index. A version of a key is a private and a public key object (or one secret key object) with the
// label "<kid>.v<version>" and a CKA_ID of 16 random bytes, and a record: a private CKO_DATA object with the application
// "hsmmirror" and the kid as its label, which carries what PKCS#11 has no attribute for. Keys without a record are not ours:
// [Token.Objects] shows them, JWKS does not, and [Token.Adopt] gives them a record.
//
// # Sessions and concurrency
//
// A Token holds one login session and a bounded pool of others (Config.Sessions); a call that finds none free waits as long as
// its context and Config.Timeout allow. All Tokens of a process on one module share its C_Initialize, the connection epoch:
// when one of them has to start the module afresh, the others find their keys again by themselves.
//
// A call into the module can't be interrupted. Its caller returns when the context ends, or Config.Timeout has passed; the
// call itself keeps its session until it comes back, so that a dead token never holds more threads than the pool has
// sessions.
//
// # Outages
//
// While the token is away every call returns [provider.ErrUnavailable] at once. The connection is made again off the caller's
// path, after at most 1 s and then at intervals that double up to 30 s. Each attempt starts the module afresh, because some
// modules see a token that comes back in no other way; Tokens on the module's other tokens notice it as a call that takes
// longer. An object handle that turns invalid is no proof that a key is gone: the token is asked for its info and searched
// again before [provider.ErrNotFound] is returned.
//
// # Keys that come and go
//
// A key is imported by C_CreateObject, or wrapped (C_UnwrapKey) where the token takes none in plain text. A key leaves wrapped
// (C_WrapKey), if its policy is secret_when_allowed, so that it can be CKA_SENSITIVE nevertheless; the wrapping key is drawn for each
// time and stays on the token for as long as the call. Where the token wraps no keys of a type, Capabilities says what becomes of
// them.
//
// # Limitations
//
// The package needs cgo; without it New returns [provider.ErrUnsupported]. The module must not be in use by anything else in
// the process.
package hsm
