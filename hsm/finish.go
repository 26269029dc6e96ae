package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hsmmirror/hsmmirror/provider"
)

// finish checks and proves what stands on the token under rec's CKA_ID, and makes the version live.
func (t *Token) finish(ctx context.Context, rec record) error {
	rec.Stage = live
	v, err := settled(t.cfg, func() (*version, error) { return t.readBack(ctx, &rec) })
	if err != nil {
		return err
	}
	if err := protection(rec, v.private); err != nil {
		return err
	}
	if v.private != nil && v.readable() {
		t.cfg.Logger.Warn("private key made with CKA_SENSITIVE false: it may be exported, and the token wraps no key of its type",
			slog.String("kid", rec.KID), slog.Int("version", rec.Version), slog.String("alg", string(rec.Alg)))
	}
	return t.write(ctx, rec)
}

// readBack finds the objects under rec's CKA_ID, and proves the version that they make.
func (t *Token) readBack(ctx context.Context, rec *record) (*version, error) {
	objects, err := t.link.find(ctx, attribute{ckaID, rec.idBytes()})
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.problem != nil { // it is there, and must not pass for missing
			return nil, fmt.Errorf("read back %q: %w", rec.jwkKID(), o.problem)
		}
	}
	return t.proved(ctx, rec, objects)
}

// proved joins rec with its objects, notes the fingerprint in it, and proves that the halves belong together.
func (t *Token) proved(ctx context.Context, rec *record, objects []*object) (*version, error) {
	r := &located{record: rec}
	v, err := assemble(r, objects)
	if errors.Is(err, errNoPublic) {
		err = t.rebuildPublic(ctx, v, objects)
	}
	if err != nil {
		return nil, err
	}
	if err := rec.fitSize(v); err != nil {
		return nil, err
	}
	return v, t.prove(ctx, v)
}

// fitSize compares the size of a version's key with the record's, or notes it there if the record has none yet.
func (r *record) fitSize(v *version) error {
	bits := 0
	if v.public != nil {
		var err error
		if bits, err = provider.CheckPublic(r.Alg, v.public); err != nil {
			return err
		}
	} else if bits = sizeOf(v.private); bits == 0 {
		return nil
	}
	if r.Bits == 0 {
		r.Bits = bits
	}
	if r.Bits != bits {
		return provider.Unsupportedf("%q: the token made a key of %d bits: want %d", r.jwkKID(), bits, r.Bits)
	}
	return nil
}

// protection compares what was made with what was asked for.
func protection(rec record, private *object) error {
	if private == nil || rec.Export == provider.ExportSecretWhenAllowed || private.evidence == nil {
		return nil
	}
	e := private.evidence
	if e.Sensitive != nil && !*e.Sensitive || e.Extractable != nil && *e.Extractable {
		return provider.Unsupportedf("make %q: the token made a private key that is not sensitive or can be extracted", rec.jwkKID())
	}
	return nil
}

// made removes the claim of a version that has become live, and describes the version.
func (t *Token) made(ctx context.Context, rec record) (provider.KeyRef, error) {
	ctx, cancel := t.afterwards(ctx)
	defer cancel()
	k, err := t.reload(ctx, rec.KID)
	if err != nil {
		return provider.KeyRef{}, err
	}
	if tidied, err := t.tidy(ctx, k, claimDead); err == nil { // what it can't remove does no harm
		k = tidied
	}
	v, err := k.find(rec.Version)
	if errors.Is(err, provider.ErrNotFound) {
		err = fmt.Errorf("%w: %q is not on the token after it was made", provider.ErrUnavailable, rec.jwkKID())
	}
	if err != nil {
		return provider.KeyRef{}, err
	}
	return k.ref(v, now()), nil
}
