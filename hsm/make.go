package hsm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

const (
	// claimTries is how often a version number is claimed anew when another process wants the same one.
	claimTries = 12
	// claimLife is how long the claim of a first version keeps others from making one. The claim of a process that died ends so.
	claimLife = 5 * time.Minute
)

// errClaimed means that another process claims the same version.
var errClaimed = fmt.Errorf("%w: other processes keep claiming the next version, or one died on it less than %v ago", provider.ErrUnavailable, claimLife)

// CreateKey makes a key on the token. Its private half is sensitive and can't be extracted unless the export policy is
// secret_when_allowed; what was made is read back, compared and proved before it counts.
func (t *Token) CreateKey(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
	if err := t.begin(ctx); err != nil {
		return provider.KeyRef{}, err
	}
	spec, err := spec.Normalize()
	if err != nil {
		return provider.KeyRef{}, err
	}
	return t.first(ctx, spec, record{}, func(ctx context.Context, r record) error { return t.generate(ctx, r) })
}

// RotateKey makes the next version of a key on the token.
func (t *Token) RotateKey(ctx context.Context, kid string, r provider.Rotation) (provider.KeyRef, error) {
	if err := t.begin(ctx); err != nil {
		return provider.KeyRef{}, err
	}
	if err := provider.ValidateKID(kid); err != nil {
		return provider.KeyRef{}, err
	}
	return t.version(ctx, making{kid: kid, fill: t.generate, plan: func(k *key) (record, error) {
		latest, err := k.find(0)
		if err != nil {
			return record{}, err
		}
		if latest.private == nil {
			return record{}, provider.Unsupportedf("rotate %q: it was imported without its private half", kid)
		}
		spec, windows, err := r.Normalize(latest.ref())
		if err != nil {
			return record{}, err
		}
		rec := newRecord(spec)
		rec.ActiveFrom = rec.Created.Add(windows.PublishBefore)
		rec.RetireAfter = int64(windows.RetireAfter / time.Second)
		return rec, t.canCreate(ctx, spec)
	}})
}

// making is the way to a new version of kid: plan says what it is, from what the token holds now; fill puts its objects on the
// token. first tells that it must be the only one.
type making struct {
	kid   string
	first bool
	plan  func(*key) (record, error)
	fill  func(context.Context, record) error
}

// first makes the first version of a key. more holds what the record says beyond the spec.
func (t *Token) first(ctx context.Context, spec provider.KeySpec, more record, fill func(context.Context, record) error) (provider.KeyRef, error) {
	return t.version(ctx, making{kid: spec.KID, first: true, fill: fill, plan: func(k *key) (record, error) {
		if err := k.vacant(); err != nil {
			return record{}, err
		}
		rec := newRecord(spec)
		rec.Imported, rec.PublicOnly = more.Imported, more.PublicOnly
		if rec.Imported {
			return rec, nil
		}
		return rec, t.canCreate(ctx, spec)
	}})
}

// vacant returns nil if the key has no version, also none that can't be served.
func (k *key) vacant() error {
	switch _, err := k.find(0); {
	case err == nil:
		return provider.Exists(k.kid, 0)
	case !errors.Is(err, provider.ErrNotFound):
		return err
	}
	return nil
}

// newRecord is the claim of a version that spec describes, active at once.
func newRecord(spec provider.KeySpec) record {
	created := now().Truncate(time.Second)
	return record{
		Format: recordFormat, Stage: claimed, KID: spec.KID, Alg: spec.Alg, Bits: spec.Bits, Uses: spec.Uses, Export: spec.Export,
		Label: spec.Label, Tags: spec.Tags, Created: created, ActiveFrom: created,
	}
}

// version makes a version. When another process claims the same number, or may be writing a record just now, it plans again.
func (t *Token) version(ctx context.Context, m making) (provider.KeyRef, error) {
	unlock, err := t.lock(ctx, m.kid)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer unlock()
	for try := 1; ; try++ {
		ref, err := t.tryVersion(ctx, m)
		if again := errors.Is(err, errClaimed) || errors.Is(err, errUnreadable); !again || try == claimTries {
			return ref, err
		}
		select {
		case <-time.After(mrand.N(time.Duration(try) * 20 * time.Millisecond)):
		case <-ctx.Done():
			return provider.KeyRef{}, ctx.Err()
		}
	}
}

// tryVersion claims a version, fills it, proves it and makes it live. Nothing stays on the token if it fails.
func (t *Token) tryVersion(ctx context.Context, m making) (provider.KeyRef, error) {
	k, err := t.reload(ctx, m.kid)
	if err == nil {
		k, err = t.tidy(ctx, k)
	}
	if err != nil {
		return provider.KeyRef{}, err
	}
	rec, err := m.plan(k)
	if err != nil {
		return provider.KeyRef{}, err
	}
	id, err := t.freeID(ctx)
	if err != nil {
		return provider.KeyRef{}, err
	}
	rec.ID = hex.EncodeToString(id)
	if rec.Version, err = k.next(); err != nil {
		return provider.KeyRef{}, err
	}
	err = t.claim(ctx, rec, k, m.first)
	if err == nil {
		err = m.fill(ctx, rec)
	}
	if err == nil {
		err = t.finish(ctx, rec)
	}
	if err != nil {
		return provider.KeyRef{}, t.undo(ctx, rec, err)
	}
	return t.made(ctx, rec)
}

// freeID returns a CKA_ID that no object on the token has. NSS replaces a key by one with the same CKA_ID, without a word.
func (t *Token) freeID(ctx context.Context) ([]byte, error) {
	id := make([]byte, 16)
	rand.Read(id)
	taken, err := t.link.find(ctx, attribute{ckaID, id})
	if err == nil && len(taken) > 0 {
		err = fmt.Errorf("%w: a random CKA_ID is taken already: the token finds objects that it was not asked for", provider.ErrTampered)
	}
	return id, err
}

// claim writes rec as a claim and looks whether it is alone. PKCS#11 has no lock: of two processes that claim a number at
// once each sees the other's claim, and both withdraw; of two in turn the second one sees the first and withdraws. A record that can't
// be read may be a rival's. A first version wants the whole kid for itself.
func (t *Token) claim(ctx context.Context, rec record, k *key, first bool) error {
	if err := t.write(ctx, rec); err != nil {
		return err
	}
	objects, err := t.link.find(ctx, recordsOf(rec.KID)...)
	if err != nil {
		return err
	}
	records, damaged := locate(objects)
	seen, rival := false, len(damaged) > 0
	for _, r := range records {
		fresh := r.Stage == live && !k.tombstoned(r) || r.Stage == claimed && now().Sub(r.Created) < claimLife
		seen = seen || r.ID == rec.ID
		rival = rival || r.ID != rec.ID && (r.Version == rec.Version || first && fresh)
	}
	if rival || !seen { // a token that does not show what it has just stored may not show a rival's either
		return fmt.Errorf("%q: %w", rec.KID, errClaimed)
	}
	return nil
}

// write puts a record on the token.
func (t *Token) write(ctx context.Context, rec record) error {
	template, err := rec.template()
	if err != nil {
		return err
	}
	err = t.link.create(ctx, template)
	if errors.Is(err, provider.ErrInvalid) || errors.Is(err, provider.ErrUnsupported) {
		return provider.Unsupportedf("store the record of %q: the token takes no private data object: %v", rec.KID, err)
	}
	return err
}

// finish checks and proves what stands on the token under rec's CKA_ID, and makes the version live.
func (t *Token) finish(ctx context.Context, rec record) error {
	objects, err := t.link.find(ctx, attribute{ckaID, rec.idBytes()})
	if err != nil {
		return err
	}
	rec.Stage = live
	v, err := t.proved(ctx, &rec, objects)
	if err != nil {
		return err
	}
	if err := protection(rec, v.private); err != nil {
		return err
	}
	return t.write(ctx, rec)
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
	if tidied, err := t.tidy(ctx, k); err == nil { // what it can't remove does no harm
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

// undo removes what make has put on the token so far, and returns why.
func (t *Token) undo(ctx context.Context, rec record, why error) error {
	ctx, cancel := t.afterwards(ctx)
	defer cancel()
	if err := t.remove(ctx, rec); err != nil {
		t.cfg.Logger.Error("half a key left on the token", slog.String("kid", rec.KID), slog.Int("version", rec.Version), slog.Any("error", err))
	}
	return why
}

// remove destroys the key objects and the records that carry rec's CKA_ID, the keys first.
func (t *Token) remove(ctx context.Context, rec record) error {
	if err := t.removeKeys(ctx, rec.idBytes()); err != nil {
		return err
	}
	objects, err := t.link.find(ctx, recordsOf(rec.KID)...)
	if err != nil {
		return err
	}
	records, _ := locate(objects)
	for _, r := range records {
		if r.ID == rec.ID && r.Version == rec.Version {
			if err := t.link.destroy(ctx, r.object); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeKeys destroys the private, secret and public key objects with a CKA_ID, and looks whether they are gone.
func (t *Token) removeKeys(ctx context.Context, id []byte) error {
	for range 2 {
		objects, err := t.link.find(ctx, attribute{ckaID, id})
		if err != nil {
			return err
		}
		left := 0
		for _, o := range objects {
			if o.class != ckoPrivateKey && o.class != ckoSecretKey && o.class != ckoPublicKey {
				continue
			}
			left++
			if err := t.link.destroy(ctx, o); err != nil {
				return err
			}
		}
		if left == 0 {
			return nil
		}
	}
	return nil
}

// afterwards is the context of what has to be done although the caller may have gone.
func (t *Token) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*t.cfg.Timeout)
}
