package mirror

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// The objects below are the primary's, and tell the breaker what they see of it. Their operations never fail over: during an
// outage they answer provider.ErrUnavailable. A primary that fails fast is asked, so that its first
// answer ends the outage; while it hangs the answer comes at once.

// use runs one operation of an object.
func use[T any](ctx context.Context, m *Mirror, do func() (T, error)) (T, error) {
	var none T
	if err := m.ready(ctx); err != nil {
		return none, err
	}
	if err := m.up.hanging(); err != nil {
		return none, err
	}
	start := time.Now()
	v, err := do()
	return v, m.heard(ctx, start, err)
}

// object is the part that all of them have.
type object struct{ m *Mirror }

// Format prints the name of the mirror, whatever the verb: fmt would go on into the Mirror, which changes meanwhile.
func (o object) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "key of %v", o.m) }

type decrypter struct {
	object
	provider.Decrypter
}

// Decrypt implements crypto.Decrypter, within the primary's own time limit.
func (d *decrypter) Decrypt(rand io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return use(context.Background(), d.m, func() ([]byte, error) { return d.Decrypter.Decrypt(rand, ciphertext, opts) })
}

// DecryptContext implements [provider.Decrypter].
func (d *decrypter) DecryptContext(ctx context.Context, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return use(ctx, d.m, func() ([]byte, error) { return d.Decrypter.DecryptContext(ctx, ciphertext, opts) })
}

type aead struct {
	object
	provider.AEAD
}

// Encrypt implements [provider.AEAD].
func (a *aead) Encrypt(ctx context.Context, plaintext, additionalData []byte) ([]byte, error) {
	return use(ctx, a.m, func() ([]byte, error) { return a.AEAD.Encrypt(ctx, plaintext, additionalData) })
}

// Decrypt implements [provider.AEAD].
func (a *aead) Decrypt(ctx context.Context, message, additionalData []byte) ([]byte, error) {
	return use(ctx, a.m, func() ([]byte, error) { return a.AEAD.Decrypt(ctx, message, additionalData) })
}

type mac struct {
	object
	provider.MAC
}

// Sum implements [provider.MAC].
func (a *mac) Sum(ctx context.Context, message []byte) ([]byte, error) {
	return use(ctx, a.m, func() ([]byte, error) { return a.MAC.Sum(ctx, message) })
}

// Verify implements [provider.MAC].
func (a *mac) Verify(ctx context.Context, message, code []byte) error {
	_, err := use(ctx, a.m, func() (struct{}, error) { return struct{}{}, a.MAC.Verify(ctx, message, code) })
	return err
}
