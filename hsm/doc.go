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
// "hsmmirror" and the kid as its label, which carries what PKCS#11 has no attribute for. (On a token that takes no such object, the
// record is the CKA_ID of a secret key that is made for nothing else.) Keys without a record are not ours:
// [InspectObjects] shows them, JWKS does not, and [Token.Adopt] gives them a record.
//
// What an operation has left whose process was killed is taken away by the next write to the key, after an hour if it is a key in the
// making, and by [Token.Tidy].
//
// # Sessions and concurrency
//
// A Token holds one login session and a bounded pool of others (Config.Sessions); a call that finds none free waits as long as
// its context and Config.Timeout allow. All Tokens of a process on one module share its C_Initialize, the connection epoch:
// when one of them has to start the module afresh, the others find their keys again by themselves.
//
// A call into the module can't be interrupted. Its caller returns when the context ends, or Config.Timeout has passed; the
// call itself keeps its session until it comes back, so that a dead token never holds more threads than the Token has sessions.
// An operation that did nothing for want of a session or a login is made again, once the token has been asked what is left.
//
// # Outages
//
// [Token.Status] and [Token.Watch] tell how the connection stands, [Token.Stats] what it has done. While it is not up every call
// returns [provider.ErrUnavailable] at once. One return value is no proof of an outage: a token in doubt is asked, off the caller's
// path, and only then given up. What brings it back depends on what was lost:
//
//   - Sessions, or the login: one new login, on a token that is there. Callers wait for it, and see no error.
//   - A call that does not come back ([StateWedged]): the connection waits for it and goes on where it was. The module is not started
//     afresh meanwhile, because C_Finalize crashes the process then. If the call never returns, only a new process helps.
//   - The token: the module is started afresh, at once if the connection had lasted for 10 s, then after at most 1 s and at intervals that
//     grow by half up to 30 s, until the same serial number is there. Some modules see a token that comes back in no other way; Tokens on
//     the module's other tokens notice it as a call that takes longer.
//
// An object handle that turns invalid is no proof that a key is gone: the token is asked for its info, whether the login is there, and
// for the key's CKA_ID before [provider.ErrNotFound] is returned. Signers outlive all of this.
//
// A connection that lies idle is used every Config.KeepAlive, so that nothing between here and the token closes it, and so that an
// outage is noticed before a caller does.
//
// # PIN
//
// A PIN that the token has refused is tried by no Token of the process again; until the source says another one every call returns
// [provider.ErrAuth] ([StateLockedOut]), as it does on a token whose flags say that it is locked, or would be by one more wrong PIN.
// Keys with CKA_ALWAYS_AUTHENTICATE get a login of their own in each operation.
//
// # Limitations
//
// The package needs cgo; without it New returns [provider.ErrUnsupported]. The module must not be in use by anything else in
// the process.
package hsm
