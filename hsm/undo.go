package hsm

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// undo removes what make has put on the token so far, and returns why.
func (t *Token) undo(ctx context.Context, rec record, why error) error {
	ctx, cancel := t.afterwards(ctx)
	defer cancel()
	if err := settledErr(t.cfg, func() error { return t.remove(ctx, rec) }); err != nil {
		t.cfg.Logger.Error("half a key left on the token", slog.String("kid", rec.KID), slog.Int("version", rec.Version), slog.Any("error", err))
	}
	return why
}

// remove destroys the key objects and the records that carry rec's CKA_ID, the keys first.
func (t *Token) remove(ctx context.Context, rec record) error {
	if err := t.removeKeys(ctx, rec.idBytes()); err != nil {
		return err
	}
	objects, err := t.findRecords(ctx, rec.KID)
	if err != nil {
		return err
	}
	records, _ := locate(objects)
	records = slices.DeleteFunc(records, func(r *located) bool { return r.ID != rec.ID || r.Version != rec.Version })
	objects = objects[:0]
	for _, r := range records {
		objects = append(objects, r.object)
	}
	if len(objects) == 0 { // none was stored, or not under this label
		if objects, err = t.stored(ctx, rec); err != nil {
			return err
		}
	}
	for _, o := range objects {
		if err := t.link.destroy(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// removeKeys destroys the private, secret and public key objects with a CKA_ID, also those of which no more can be read, and looks
// whether they are gone. provider.ErrUnsupported if they are not, though the token says so. The public key goes last: a token that
// refuses to destroy the private one keeps a pair that works.
func (t *Token) removeKeys(ctx context.Context, id []byte) error {
	const tries = 3
	for try := 0; ; try++ {
		objects, err := t.link.find(ctx, attribute{ckaID, id})
		unknown := slices.ContainsFunc(objects, func(o *object) bool { return o.class == classUnknown })
		if err != nil && (objects == nil || unknown) {
			return err
		}
		keys := slices.DeleteFunc(objects, func(o *object) bool {
			return o.class != ckoPrivateKey && o.class != ckoSecretKey && o.class != ckoPublicKey
		})
		switch {
		case len(keys) == 0:
			return nil
		case try == tries:
			return provider.Unsupportedf("destroy key objects: the token says that they are destroyed and still shows %d", len(keys))
		}
		slices.SortFunc(keys, func(a, b *object) int { return cmp.Compare(b.class, a.class) }) // the public key's is the lowest
		for _, o := range keys {
			err := t.link.destroy(ctx, o)
			if errors.Is(err, errMoved) {
				break // find them again; not for ever, because a destroy may restart the module itself
			}
			if err != nil {
				return err
			}
		}
	}
}

// afterwards is the context of what has to be done although the caller may have gone.
func (t *Token) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*t.cfg.Timeout)
}
