package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ExportKey implements [provider.Exporting]. The key leaves the token wrapped under a key that is drawn for this, so that it needs
// no CKA_SENSITIVE false, and is compared with its public half, or with what the token makes with it, before it is handed out.
// [provider.ErrNotExportable] also if the token has no mechanism to wrap it or the key's CKA_EXTRACTABLE is false;
// [provider.ErrTampered] if what the token gave is another key.
func (t *Token) ExportKey(ctx context.Context, kid string, n int) (provider.Secret, error) {
	_, v, err := t.lookupVersion(ctx, kid, n)
	if err != nil {
		return provider.Secret{}, err
	}
	switch {
	case v.Export != provider.ExportSecretWhenAllowed:
		return provider.Secret{}, notExportable(v, "has the policy %s", v.Export)
	case v.private == nil:
		return provider.Secret{}, notExportable(v, "is here without its private half")
	}
	h := held{t, v, v.ref()}
	take := h.wrapped
	if v.readable() {
		take = h.read
	}
	plain, err := take(ctx)
	defer clear(plain)
	switch {
	case err == nil:
		return h.checked(ctx, plain)
	case refused(err):
		return provider.Secret{}, notExportable(v, "can't leave the token: %v", err)
	}
	return provider.Secret{}, fmt.Errorf("export %q: %w", v.jwkKID(), err)
}

func notExportable(v *version, format string, args ...any) error {
	return fmt.Errorf("%w: %q %w", provider.ErrNotExportable, v.jwkKID(), fmt.Errorf(format, args...))
}

// refused tells whether the token said no to what it was asked for, as opposed to giving no answer.
func refused(err error) bool {
	return errors.Is(err, provider.ErrUnsupported) || errors.Is(err, provider.ErrInvalid)
}

// wrapped returns the key as the token wraps it: PKCS #8, or the bytes of a symmetric key. The caller wipes it.
func (h *held) wrapped(ctx context.Context) (plain []byte, err error) {
	err = h.t.byWrapping(ctx, ckfWrap, h.v.Alg, h.v.Bits, func(k keyWrap, w wrapping) error {
		wrapped, err := h.use(ctx, func(key *object) ([]byte, error) { return h.t.link.wrap(ctx, w, key) })
		if err == nil {
			plain, err = k.unwrap(w.kek, wrapped)
		}
		return err
	})
	return plain, err
}

// readable tells whether CKA_VALUE, which is the whole private half of a key on these curves, can be read.
func (v *version) readable() bool {
	e := v.private.evidence
	return v.Alg.KeyType() == "OKP" && e != nil && e.Sensitive != nil && !*e.Sensitive
}

// read returns the PKCS #8 of a private key from its CKA_VALUE. The caller wipes it.
func (h *held) read(ctx context.Context) ([]byte, error) {
	value, err := h.use(ctx, func(key *object) ([]byte, error) { return h.t.link.value(ctx, key) })
	defer clear(value)
	if err != nil {
		return nil, err
	}
	return pkcs8OfValue(h.v.Alg, value)
}

// checked returns the key in the form of the contract if it is the version's.
func (h *held) checked(ctx context.Context, plain []byte) (secret provider.Secret, err error) {
	if h.v.public != nil {
		return exportedPrivate(h.v.record, plain)
	}
	if plain, err = exportedSecret(h.v.record, plain); err != nil {
		return provider.Secret{}, err
	}
	same, err := h.agrees(ctx, plain)
	switch {
	case err != nil:
		return provider.Secret{}, fmt.Errorf("export %q: %w", h.v.jwkKID(), err)
	case !same:
		return provider.Secret{}, anotherKey(h.v.record)
	}
	return provider.NewSecret(plain), nil
}
