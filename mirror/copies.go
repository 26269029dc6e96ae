package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// A copy under a name of the secondary's own has a kid that begins with copyPrefix, and the tag originTag with the JWK kid
// of the version.
const (
	copyPrefix = "mirror-"
	originTag  = "mirror_of"
)

// copies is the secondary under the primary's names. It says what the secondary holds; whether that may be served is not
// its business.
//
// A secondary that satisfies [provider.Replica] keeps kid and version. Any other one gives each copy a key of its own,
// whose name the ledger maps to the version.
type copies struct {
	store provider.Provider
	limit time.Duration
	slow  *breaker // trips on calls that took long only: a secondary that fails fast delays nobody
}

func newCopies(store provider.Provider, limit time.Duration, slow *breaker) *copies {
	return &copies{store, limit, slow}
}

// read puts a read to the secondary, with its time limit. While the secondary is known to hang it returns the outage's
// error at once.
func read[T any](ctx context.Context, c *copies, do func(context.Context) (T, error)) (T, error) {
	if err := c.slow.down(); err != nil {
		var none T
		return none, err
	}
	return write(ctx, c, do)
}

// write is read that also tries a secondary which is known to hang.
func write[T any](ctx context.Context, c *copies, do func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	start := time.Now()
	v, err := do(limited)
	return v, c.heard(ctx, start, err, false)
}

// budget returns a context with the secondary's time limit for several calls together.
func (c *copies) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.limit, errLimit)
}

func (c *copies) heard(ctx context.Context, start time.Time, err error, probe bool) error {
	outage := outageOf(ctx, "secondary", start, err)
	switch {
	case outage == nil && ended(ctx) && unanswered(err):
		return ctx.Err()
	case outage == nil:
		if !errors.Is(err, provider.ErrClosed) {
			c.slow.answered(start)
		}
		return err
	case probe || time.Since(start) >= slowFailure:
		c.slow.failed(start, outage, probe)
	}
	return outage
}

func (c *copies) probe(ctx context.Context) {
	start := time.Now()
	_ = c.heard(ctx, start, check(ctx, c.store, c.limit), true)
}

// place returns the name under which the secondary keeps the version's copy. own tells that it is one that the secondary
// gave.
func (l *ledger) place(v Version) (at Version, own bool) {
	if e, _ := l.get(v); e.Copy != nil {
		return *e.Copy, true
	}
	return v, false
}

// key describes the copy of v.
func (c *copies) key(ctx context.Context, l *ledger, v Version) (provider.KeyRef, error) {
	at, own := l.place(v)
	ref, err := read(ctx, c, func(ctx context.Context) (provider.KeyRef, error) { return c.store.GetKey(ctx, at.KID, at.Version) })
	if err != nil {
		return provider.KeyRef{}, err
	}
	if err := sameName(at, ref); err != nil {
		return provider.KeyRef{}, err
	}
	return l.named(v, own, ref), nil
}

// jwk returns the public JWK of the copy of v.
func (c *copies) jwk(ctx context.Context, l *ledger, v Version) (provider.JWK, error) {
	at, own := l.place(v)
	k, err := read(ctx, c, func(ctx context.Context) (provider.JWK, error) { return c.store.PublicJWK(ctx, at.KID, at.Version) })
	if err != nil {
		return provider.JWK{}, err
	}
	ref := k.Ref()
	if err := sameName(at, ref); err != nil {
		return provider.JWK{}, err
	}
	if !own {
		return k, nil
	}
	return provider.NewJWK(l.named(v, own, ref), k.PublicKey())
}

// sameName refuses an answer about another key than was asked for.
func sameName(want Version, got provider.KeyRef) error {
	if got.KID != want.KID || got.Version != want.Version {
		return fmt.Errorf("%w: secondary was asked for %s and answered with %s", provider.ErrTampered, want, got.JWKKID())
	}
	return nil
}

// named returns what the secondary says of the copy of v as it is under the primary's name.
func (l *ledger) named(v Version, own bool, copied provider.KeyRef) provider.KeyRef {
	if !own {
		return copied
	}
	e, _ := l.get(v)
	ref := e.ref(v).Clone()
	ref.Fingerprint, ref.Private = copied.Fingerprint, copied.Private
	return ref
}

// put copies the version that ref describes. at is where the copy stands if not under the primary's name.
func (c *copies) put(ctx context.Context, ref provider.KeyRef, material provider.KeyMaterial) (stored provider.KeyRef, at *Version, err error) {
	if r, ok := c.store.(provider.Replica); ok {
		stored, err = write(ctx, c, func(ctx context.Context) (provider.KeyRef, error) { return r.PutVersion(ctx, ref, material) })
		if !errors.Is(err, provider.ErrUnsupported) {
			return stored, nil, err
		}
	}
	stored, err = c.importCopy(ctx, ref, material)
	if err != nil {
		return stored, nil, err
	}
	return stored, &Version{stored.KID, stored.Version}, nil
}

// importCopy makes a key of the secondary's own. Its name follows from the version's, so that a copy whose place was not
// noted, because the process died or the answer was lost, is found and not made twice.
func (c *copies) importCopy(ctx context.Context, ref provider.KeyRef, material provider.KeyMaterial) (provider.KeyRef, error) {
	spec := ref.Spec()
	sum := sha256.Sum256([]byte(ref.JWKKID()))
	spec.KID = copyPrefix + hex.EncodeToString(sum[:16])
	if spec.Tags == nil {
		spec.Tags = map[string]string{}
	}
	if len(spec.Tags) < provider.MaxTags {
		spec.Tags[originTag] = ref.JWKKID()
	}
	stored, err := write(ctx, c, func(ctx context.Context) (provider.KeyRef, error) { return c.store.ImportKey(ctx, spec, material) })
	if !errors.Is(err, provider.ErrExists) {
		return stored, err
	}
	there, gerr := write(ctx, c, func(ctx context.Context) (provider.KeyRef, error) { return c.store.GetKey(ctx, spec.KID, 0) })
	if gerr != nil {
		return there, gerr
	}
	if there.Alg != ref.Alg || there.Fingerprint != ref.Fingerprint {
		return there, err
	}
	return there, nil
}

// destroy removes the copy of v. It is no error if there is none.
func (c *copies) destroy(ctx context.Context, l *ledger, v Version) error {
	at, _ := l.place(v)
	_, err := write(ctx, c, func(ctx context.Context) (provider.Destruction, error) {
		return c.store.DestroyKey(ctx, at.KID, at.Version)
	})
	if errors.Is(err, provider.ErrNotFound) {
		return nil
	}
	return err
}
