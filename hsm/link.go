package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// link is all that a Token asks of a PKCS#11 module, at the level of operations rather than calls, so that something else
// than a module in this process may stand behind it. Each method returns within ctx or the configured time limit, and its
// error wraps a provider error; most are an [*Error]. A call to the token may outlast the method; what the method was given may
// be changed nevertheless, and what it returns is the caller's.
//
// Objects belong to the connection epoch in which they were found. A method that is given one from another epoch returns
// errMoved without asking the token.
type link interface {
	// token describes the token as it was when the connection was made, and the mechanisms that it offers.
	token(ctx context.Context) (TokenInfo, map[uint]mechanismInfo, error)

	// alive returns nil while the connection is up, at the cost of no call. Otherwise it returns what every other method
	// would return; before the first connection it makes one.
	alive(ctx context.Context) error

	// epoch is the current epoch; 0 before the first.
	epoch() uint64

	// status is how the connection stands, and what is closed at its next change. stats is what it has done. Neither waits.
	status() (Status, <-chan struct{})
	stats() Stats

	// exclusive keeps other processes of this host from writing to the token until release is called, where its module needs
	// that. It waits as long as ctx allows.
	exclusive(ctx context.Context) (release func(), err error)

	// mayMistake tells that the module may sign with another key than the one that it is told to: with what another process has put in
	// its place. It sees what is there once it has been started afresh.
	mayMistake() bool
	afresh(ctx context.Context) error

	// find returns the objects that have all the given attributes, with what could be read of each. It asks afterwards
	// whether the token is there and the login lasts, because without either it may show no objects and no error. If some can't be
	// read, time and again, it returns all with the error of the first one: an object of which that is all that is known must not
	// pass for missing, nor for another one.
	find(ctx context.Context, match ...attribute) ([]*object, error)

	// publicParts returns o, a private key or certificate, with what its public half can be rebuilt from.
	publicParts(ctx context.Context, o *object) (*object, error)

	// generate makes a key on the token.
	generate(ctx context.Context, g generation) error

	// create stores an object (C_CreateObject). The template, which may hold secrets, is its own from then on: it overwrites the
	// bytes when the call has come back.
	create(ctx context.Context, template []attribute) error

	// destroy removes an object. An object that is gone already is no error.
	destroy(ctx context.Context, o *object) error

	// relabel sets the CKA_LABEL of an object.
	relabel(ctx context.Context, o *object, label string) error

	// sign, decrypt and encrypt are one operation each, with a private or secret key.
	sign(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error)
	decrypt(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error)
	encrypt(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error)

	// verify is one C_Verify with a secret key.
	verify(ctx context.Context, key *object, m mechanism, data, signature []byte) error

	// derive returns the 32 bytes of CKM_ECDH1_DERIVE without a key derivation function.
	derive(ctx context.Context, key *object, peer []byte) ([]byte, error)

	// random returns n bytes of C_GenerateRandom. It asks the token for its info afterwards, because a module may go on making
	// random bytes by itself when the token is away.
	random(ctx context.Context, n int) ([]byte, error)

	// wrap returns key, a private or secret key, as C_WrapKey gives it. provider.ErrNotExportable for a key whose CKA_EXTRACTABLE
	// is false, also on a module that would hand it out; errNoKEK if the token does not take w.kek in this way.
	wrap(ctx context.Context, w wrapping, key *object) ([]byte, error)

	// value returns the CKA_VALUE of a private key that has CKA_SENSITIVE false and CKA_EXTRACTABLE true;
	// provider.ErrNotExportable of any other.
	value(ctx context.Context, key *object) ([]byte, error)

	// unwrap stores a key that was wrapped in this process (C_UnwrapKey). The template is its own from then on. errNoKEK as for
	// wrap.
	unwrap(ctx context.Context, w wrapping, wrapped []byte, template []attribute) error

	// close ends the connection. It waits for calls in flight no longer than the time limit.
	close() error
}

// attribute is a PKCS#11 attribute to set or to search for; value is a bool, uint, string or []byte.
type attribute struct {
	typ   uint
	value any
}

// mechanism is a PKCS#11 mechanism with the parameters that it takes, if any.
type mechanism struct {
	typ  uint
	pss  *pssParams
	oaep *oaepParams
	gcm  *gcmParams
}

// pssParams is CK_RSA_PKCS_PSS_PARAMS; salt in bytes.
type pssParams struct{ hash, mgf, salt uint }

// oaepParams is CK_RSA_PKCS_OAEP_PARAMS with an encoding parameter given as data.
type oaepParams struct {
	hash, mgf uint
	label     []byte
}

// gcmParams is CK_GCM_PARAMS with a tag of 128 bits.
type gcmParams struct{ nonce, additionalData []byte }

// mechanismInfo is CK_MECHANISM_INFO. The unit of the sizes is the mechanism's own: bits for RSA and EC, bytes for AES.
type mechanismInfo struct{ min, max, flags uint }

// generation says what key to make. Curve parameters are CKA_EC_PARAMS.
type generation struct {
	alg             algorithm
	bits            int
	public, private []attribute // of a pair; a secret key takes private alone
}

// algorithm is a kind of key to generate.
type algorithm int

const (
	generateRSA algorithm = iota + 1
	generateEC
	generateEdwards
	generateMontgomery
	generateAES
	generateSecret
)

// object is what was read of an object on the token. Absent attributes are zero.
type object struct {
	epoch  uint64
	handle uint

	class, keyType    uint
	private           bool // CKA_PRIVATE: only who logs in can see or make it
	label             string
	id                []byte
	application       string // of data objects
	value             []byte // of data objects and certificates
	ecParams, ecPoint []byte
	modulus, exponent []byte
	publicKeyInfo     []byte // CKA_PUBLIC_KEY_INFO
	length            int    // CKA_VALUE_LEN in bytes
	evidence          *provider.Evidence
	alwaysAuth        bool  // CKA_ALWAYS_AUTHENTICATE
	problem           error // what could not be read
}

// classUnknown is the class of an object that does not tell its own: no module may use the number (CK_UNAVAILABLE_INFORMATION).
const classUnknown = ^uint(0)

// unread tells whether the token has failed to show what the object is, for now or for ever.
func (o *object) unread() bool { return provider.IsOutage(o.problem) }

// errUnread means that an object can't be read which may be one that is looked for.
var errUnread = errors.New("an object can't be read")

// allRead returns errUnread with the problem of the first object that is unread.
func allRead(objects []*object) error {
	for _, o := range objects {
		if o.unread() {
			return fmt.Errorf("%w: %w", errUnread, o.problem)
		}
	}
	return nil
}

// clone returns a deep copy.
func (m mechanism) clone() mechanism {
	if m.oaep != nil {
		p := *m.oaep
		p.label = slices.Clone(p.label)
		m.oaep = &p
	}
	if m.gcm != nil {
		m.gcm = &gcmParams{slices.Clone(m.gcm.nonce), slices.Clone(m.gcm.additionalData)}
	}
	return m
}

// errMoved means that an object was found on an earlier connection. Find it again.
var errMoved = fmt.Errorf("%w: the object was found on an earlier connection", provider.ErrUnavailable)

// wrapping is how a key goes out of the token or into it: wrapped by a mechanism without parameters under kek, an AES key. The
// token has kek as a session object for as long as the call lasts; the caller wipes it when the method has returned.
type wrapping struct {
	mechanism uint
	kek       []byte
	// transport: kek goes to the token encrypted (RSAES-OAEP) to a pair that is made there for this, which may take as long as
	// any generation of a key. Otherwise it goes there in plain text, by C_CreateObject.
	transport bool
}

// errNoKEK means that the token takes no AES key in plain text. Have it transported.
var errNoKEK = errors.New("the token takes no AES key in plain text")
