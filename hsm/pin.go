//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// pinKeeper tries each value of a PIN until the token refuses it, and none that it has refused. It keeps the value for the logins
// of later epochs: a prompt or a file descriptor can't be asked twice.
type pinKeeper struct {
	source provider.SecretSource
	asked  atomic.Uint64 // grows when the source is asked and when it has answered: odd in between

	mu      sync.Mutex
	pin     provider.Secret            // not refused so far; empty: the source has to be asked
	refused map[[sha256.Size]byte]bool // digests of the values that the token refused
}

// present logs in with the PIN, or returns provider.ErrAuth. It tries nothing on a token that says that the next wrong PIN
// locks it, or that it is locked already.
func (k *pinKeeper) present(ctx context.Context, t TokenInfo, login func(pin string) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case t.flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("%w: token %s: its user PIN is locked", provider.ErrAuth, quote(t.Label))
	case t.flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("%w: token %s: one more wrong PIN would lock it, so none is tried: log in once with another tool", provider.ErrAuth, quote(t.Label))
	}
	if !k.pin.Empty() {
		if err := k.tryLocked(login); !errors.Is(err, provider.ErrAuth) {
			return err
		}
	}
	if err := k.askLocked(ctx, t); err != nil {
		return err
	}
	return k.tryLocked(login)
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
	case k.refused[sha256.Sum256(pin.Expose())]:
		pin.Wipe()
		return fmt.Errorf("%w: token %s: it refused this PIN before: it is not tried again until it changes", provider.ErrAuth, quote(t.Label))
	}
	k.pin = pin
	return nil
}

// tryLocked logs in with the PIN, and notes a refusal.
func (k *pinKeeper) tryLocked(login func(pin string) error) error {
	err := login(string(k.pin.Expose()))
	if errors.Is(err, provider.ErrAuth) {
		if k.refused == nil {
			k.refused = map[[sha256.Size]byte]bool{}
		}
		k.refused[sha256.Sum256(k.pin.Expose())] = true
		k.pin.Wipe()
	}
	return err
}

func (k *pinKeeper) wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pin.Wipe()
}
