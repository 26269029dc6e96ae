//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// pinKeeper tries each value of a PIN until the token refuses it, and none that it has refused. It keeps the value for the logins
// of later epochs: a prompt or a file descriptor can't be asked twice.
type pinKeeper struct {
	source provider.SecretSource
	logger *slog.Logger
	asked  atomic.Uint64 // grows when someone is asked and when they have answered: odd in between

	repeats sync.Mutex // held while the PIN is repeated, inside the module

	mu      sync.Mutex
	pin     provider.Secret // not refused so far; empty: the source has to be asked
	refused bool            // at the token's own PIN entry
}

// login hands a PIN to the token. already tells that the process is logged in and the token did not look at it.
type login func(pin string) (already bool, err error)

// present logs in with the PIN, or returns provider.ErrAuth. It tries nothing on a token that says that the next wrong PIN
// locks it, or that it is locked already.
func (k *pinKeeper) present(ctx context.Context, t TokenInfo, try login) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.tempt(t); err != nil {
		return err
	}
	if !k.pin.Empty() {
		if err := k.tryLocked(t, try); !errors.Is(err, provider.ErrAuth) {
			return err
		}
	}
	if err := k.askLocked(ctx, t); err != nil {
		return err
	}
	return k.tryLocked(t, try)
}

// repeat logs in with the PIN that has logged in before. It asks nobody. One try at a time: if the PIN was changed meanwhile, the
// first refusal is the last.
func (k *pinKeeper) repeat(t TokenInfo, try login) error {
	k.repeats.Lock()
	defer k.repeats.Unlock()
	k.mu.Lock()
	pin := provider.NewSecret(k.pin.Expose())
	k.mu.Unlock()
	defer pin.Wipe()
	if pin.Empty() {
		return fmt.Errorf("%w: token %s: there is no PIN that it has not refused", provider.ErrAuth, quote(t.Label))
	}
	_, err := try(string(pin.Expose()))
	if errors.Is(err, provider.ErrAuth) {
		pinsOf(t).refuse(sha256.Sum256(pin.Expose()))
		k.wipe()
	}
	return err
}

// pad has the token ask for the PIN by its own means (CKF_PROTECTED_AUTHENTICATION_PATH). After a refusal it does not ask again:
// nobody here can know that the person will type another PIN.
func (k *pinKeeper) pad(t TokenInfo, try login) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case t.flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH == 0:
		return provider.Invalidf("token %s: it has no PIN entry of its own (PROTECTED_AUTHENTICATION_PATH): want a PIN", quote(t.Label))
	case k.refused:
		return fmt.Errorf("%w: token %s: the PIN that was typed at it was refused", provider.ErrAuth, quote(t.Label))
	}
	if err := k.tempt(t); err != nil {
		return err
	}
	k.asked.Add(1)
	_, err := try("")
	k.asked.Add(1)
	k.refused = errors.Is(err, provider.ErrAuth)
	return err
}

// tempt returns provider.ErrAuth if no PIN may be tried on the token.
func (k *pinKeeper) tempt(t TokenInfo) error {
	switch {
	case t.flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: token %s: its user PIN is locked", provider.ErrAuth, quote(t.Label))
	case t.flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("%w: token %s: one more wrong PIN would lock it, so none is tried: log in once with another tool", provider.ErrAuth, quote(t.Label))
	case t.flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0:
		k.logger.Warn("token has refused a PIN before, and locks after a few", slog.String("token", t.Label))
	}
	return nil
}

// askLocked gets a PIN from the source.
func (k *pinKeeper) askLocked(ctx context.Context, t TokenInfo) error {
	k.asked.Add(1)
	pin, err := k.source(ctx)
	k.asked.Add(1)
	switch {
	case err != nil:
		return fmt.Errorf("%w: PIN of token %s: %w", provider.ErrAuth, quote(t.Label), err)
	case bytes.IndexByte(pin.Expose(), 0) >= 0:
		pin.Wipe()
		return provider.Invalidf("PIN of token %s: it has a NUL byte", quote(t.Label))
	case pin.Empty():
		return fmt.Errorf("%w: token %s: the PIN is empty", provider.ErrAuth, quote(t.Label))
	}
	k.pin = pin
	return nil
}

// tryLocked logs in with the PIN, and notes what came of it for all Tokens of the process.
func (k *pinKeeper) tryLocked(t TokenInfo, try login) error {
	digest := sha256.Sum256(k.pin.Expose())
	book := pinsOf(t)
	book.mu.Lock()
	defer book.mu.Unlock()
	if book.refused[digest] {
		k.pin.Wipe()
		return fmt.Errorf("%w: token %s: it refused this PIN before: it is not tried again until it changes", provider.ErrAuth, quote(t.Label))
	}
	already, err := try(string(k.pin.Expose()))
	switch {
	case errors.Is(err, provider.ErrAuth):
		book.refused[digest] = true
		k.pin.Wipe()
	case err == nil && !already:
		book.accepted = digest
	case err == nil && book.accepted != digest && book.accepted != [sha256.Size]byte{}:
		k.pin.Wipe()
		return fmt.Errorf("%w: token %s: this process is logged in to it with another PIN", provider.ErrAuth, quote(t.Label))
	}
	return err
}

func (k *pinKeeper) wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pin.Wipe()
}

// pinBook is what the process has learnt of the PINs of one token: a login is the process's own, not a Token's, and a wrong PIN counts
// for the token, whoever tries it. It holds digests only.
type pinBook struct {
	mu       sync.Mutex // held while a PIN is tried
	accepted [sha256.Size]byte
	refused  map[[sha256.Size]byte]bool
}

// pins holds the books by token.
var pins = struct {
	mu sync.Mutex
	m  map[string]*pinBook
}{m: map[string]*pinBook{}}

func (b *pinBook) refuse(digest [sha256.Size]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused[digest] = true
}

func pinsOf(t TokenInfo) *pinBook {
	pins.mu.Lock()
	defer pins.mu.Unlock()
	name := t.Manufacturer + "/" + t.Model + "/" + t.Serial + "/" + t.Label
	b := pins.m[name]
	if b == nil {
		b = &pinBook{refused: map[[sha256.Size]byte]bool{}}
		pins.m[name] = b
	}
	return b
}
