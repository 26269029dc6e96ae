//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// pinKeeper tries each value of a PIN once. It keeps the one that the token took, for the logins of later epochs: a prompt
// or a file descriptor can't be asked twice.
type pinKeeper struct {
	source provider.SecretSource

	mu      sync.Mutex
	good    provider.Secret
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
	if !k.good.Empty() {
		err := login(string(k.good.Expose()))
		if !errors.Is(err, provider.ErrAuth) {
			return err
		}
		k.refuse(k.good)
	}
	pin, err := k.source(ctx)
	if err != nil {
		return fmt.Errorf("%w: PIN of token %s: %w", provider.ErrAuth, quote(t.Label), err)
	}
	if bytes.IndexByte(pin.Expose(), 0) >= 0 {
		pin.Wipe()
		return provider.Invalidf("PIN of token %s: it has a NUL byte", quote(t.Label))
	}
	if k.refused[sha256.Sum256(pin.Expose())] {
		pin.Wipe()
		return fmt.Errorf("%w: token %s: it refused this PIN before: it is not tried again until it changes", provider.ErrAuth, quote(t.Label))
	}
	if err = login(string(pin.Expose())); err == nil {
		k.good = pin
		return nil
	}
	if errors.Is(err, provider.ErrAuth) {
		k.refuse(pin)
	}
	pin.Wipe()
	return err
}

func (k *pinKeeper) refuse(pin provider.Secret) {
	if k.refused == nil {
		k.refused = map[[sha256.Size]byte]bool{}
	}
	k.refused[sha256.Sum256(pin.Expose())] = true
	pin.Wipe()
}

func (k *pinKeeper) wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.good.Wipe()
}
