package hsm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Token is the store on one token. Its methods may be used by many goroutines at once. New and Open make one; the zero value is
// of no use.
//
// Lock order: the lock of a kid (writes), then the refresh turn, then mu.
type Token struct {
	cfg    Config
	link   link
	closed atomic.Bool
	writes gate // entered by every write; Close locks it

	refresh    chan struct{} // the turn to enumerate; holds one value while taken
	background background

	mu      sync.RWMutex
	idx     index             // what is known of the token
	changed map[string]uint64 // kid → number of the last change that this Token made to it
	changes uint64

	inData, inKeys atomic.Bool // records were seen on the token in data objects, in carriers

	rawOAEP atomic.Bool // the token refused OAEP with SHA-256 as such
}

var (
	_ provider.Provider       = (*Token)(nil)
	_ provider.Signing        = (*Token)(nil)
	_ provider.Decrypting     = (*Token)(nil)
	_ provider.Encrypting     = (*Token)(nil)
	_ provider.Authenticating = (*Token)(nil)
	_ provider.KeyAgreement   = (*Token)(nil)
	_ provider.Exporting      = (*Token)(nil)
	_ provider.Labelling      = (*Token)(nil)
	_ provider.Checking       = (*Token)(nil)
	_ provider.Resolving      = (*Token)(nil)
)

// New returns the store on the token that cfg selects. It connects at the first call. ErrInvalid for a configuration that
// can't work: a module that is no PKCS#11 library, no token named. ErrUnsupported without cgo.
func New(cfg Config) (*Token, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, err
	}
	l, err := newLink(cfg)
	if err != nil {
		return nil, err
	}
	return &Token{cfg: cfg, link: l, refresh: make(chan struct{}, 1), idx: index{keys: map[string]*key{}}, changed: map[string]uint64{}}, nil
}

// Open is New, and connects before it returns. ErrUnavailable if the token is not there, ErrAuth if it refuses the PIN,
// ErrInvalid if several tokens match, something else in the process uses the module, or the module wants initialisation arguments
// and gets none.
func Open(ctx context.Context, cfg Config) (*Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if err := t.link.alive(ctx); err != nil {
		_ = t.Close() // nothing is open that could be lost
		return nil, err
	}
	return t, nil
}

// Format prints the token's name, whatever the verb: a Token holds a PIN, and changes while it is printed.
func (t *Token) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "hsm.Token(%q)", t.cfg.name()) }

// begin opens every method: the context, then Close.
func (t *Token) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.closed.Load() {
		return provider.ErrClosed
	}
	return nil
}

// Info describes the token as it was when the connection was made.
func (t *Token) Info(ctx context.Context) (TokenInfo, error) {
	if err := t.begin(ctx); err != nil {
		return TokenInfo{}, err
	}
	info, _, err := t.link.token(ctx)
	return info, err
}

// Health signs a random value with a signing key of ours and verifies the signature, or, with none, draws a random byte and asks the
// token for its info: some modules draw without their token, and some tell of it from a cache. Keys that want the PIN for each
// operation are left alone.
func (t *Token) Health(ctx context.Context) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	if err := t.link.alive(ctx); err != nil {
		return err
	}
	if v := t.anySigner(); v != nil {
		return t.prove(ctx, v)
	}
	_, err := t.link.random(ctx, 1)
	return err
}

// anySigner returns a known version that can sign; nil if there is none. Elliptic curves sign faster.
func (t *Token) anySigner() *version {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var found *version
	for _, k := range t.idx.keys {
		for _, v := range k.versions {
			if v.private == nil || v.private.alwaysAuth || !v.Alg.Signs() || v.Alg.Class() != provider.Asymmetric || !v.ref().Allows(provider.UseSign) {
				continue
			}
			if v.Alg.KeyType() != "RSA" {
				return v
			}
			found = v
		}
	}
	return found
}

// RandomBytes returns n bytes of the token's generator (C_GenerateRandom). Config.Timeout is for each 4 KiB of them.
func (t *Token) RandomBytes(ctx context.Context, n int) ([]byte, error) {
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	if err := provider.ValidateRandom(n); err != nil {
		return nil, err
	}
	if err := t.link.alive(ctx); err != nil || n == 0 {
		return []byte{}, err
	}
	out, most := make([]byte, 0, n), randomStep
	for len(out) < n {
		size := min(n-len(out), most)
		step, err := t.link.random(ctx, size)
		if size > 1 && tooLong(err) { // what a smart card gives at once is told nowhere
			most = size / 2
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, step...)
	}
	return out, nil
}

// tooLong tells whether the token refused to give so many bytes at once.
func tooLong(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == ckrDataLenRange
}

// randomStep is how many bytes one operation draws: NSS gives no more than 64 KiB at once, and a TPM makes some 30 KB a second.
const randomStep = 4 << 10

// HKDF is computed in this process: its input comes from here.
func (t *Token) HKDF(ctx context.Context, ikm, salt, info []byte, length int) ([]byte, error) {
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	return provider.HKDFSHA256(ikm, salt, info, length)
}

// Close ends the connection. It lets writes and then calls in flight end, for twice Config.Timeout each at most; a key that is
// being made is taken back. It returns ErrUnavailable if a call has not come back by then: the module stays loaded and initialised
// until it does.
func (t *Token) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.background.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 2*t.cfg.Timeout)
	defer cancel()
	if t.writes.lock(ctx) {
		defer t.writes.unlock()
	}
	return t.link.close()
}

// now is the time of an answer, and of a version's making, to the second.
func now() time.Time { return time.Now().UTC() }

// kids holds the locks of kids for all Tokens of this process. Writes of other processes are kept apart on the token, by claims.
var kids = kidLocks{m: map[string]*kidLock{}}

// lock begins a write. It waits for ctx until no other write of this process is on kid, and none of this host where the module
// needs that.
func (t *Token) lock(ctx context.Context, kid string) (unlock func(), err error) {
	if err := t.writes.enter(ctx); err != nil {
		return nil, err
	}
	var release func()
	if err = t.begin(ctx); err == nil { // Close may have come in between
		release, err = t.turn(ctx, kid)
	}
	if err != nil {
		t.writes.leave()
		return nil, err
	}
	return func() { release(); t.writes.leave() }, nil
}

func (t *Token) turn(ctx context.Context, kid string) (release func(), err error) {
	info, err := t.keyed(ctx)
	switch {
	case err != nil:
		return nil, err
	case info.flags&ckfWriteProtected != 0:
		return nil, provider.Unsupportedf("write to token %s: it is write-protected", quote(info.Label))
	}
	done, err := kids.lock(ctx, info.Serial+"/"+kid)
	if err != nil {
		return nil, err
	}
	others, err := t.link.exclusive(ctx)
	if err != nil {
		done()
		return nil, err
	}
	return func() { others(); done() }, nil
}

// kidLocks is a set of locks that can be waited for with a context.
type kidLocks struct {
	mu sync.Mutex
	m  map[string]*kidLock
}

type kidLock struct {
	turn  chan struct{}
	users int
}

func (l *kidLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.m[name]
	if k == nil {
		k = &kidLock{turn: make(chan struct{}, 1)}
		l.m[name] = k
	}
	k.users++
	l.mu.Unlock()
	forget := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.m, name)
		}
	}
	select {
	case k.turn <- struct{}{}:
		return func() { <-k.turn; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
}
