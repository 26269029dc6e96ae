package hsm

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

const (
	// claimTries is how often a version number is claimed anew when another process wants the same one.
	claimTries = 12
	// claimLife is how long the claim of a first version keeps others from making one. The claim of a process that died ends so.
	claimLife = 5 * time.Minute
	// claimDead is when what was begun under a claim is taken back by the next write to the key: no token takes so long to make a key,
	// and the clocks of two hosts are not so far apart.
	claimDead = time.Hour
)

// errClaimed means that another process claims the same version.
var errClaimed = fmt.Errorf("%w: other processes keep claiming the next version, or one died on it less than %v ago", provider.ErrUnavailable, claimLife)

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
	objects, err := t.findRecords(ctx, rec.KID)
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
	if !seen {
		own, err := t.stored(ctx, rec)
		if err == nil && len(own) > 0 && own[0].label != rec.KID {
			err = provider.Unsupportedf("store the record of %q: want a token that keeps a label of %d bytes: this one made %s of it", rec.KID, len(rec.KID), quote(own[0].label))
		}
		if err != nil {
			return err
		}
	}
	if rival || !seen { // a token that does not show what it has just stored may not show a rival's either
		return fmt.Errorf("%q: %w", rec.KID, errClaimed)
	}
	return nil
}

// stored returns the objects that hold records of the very version that rec is, whatever the token has made of their labels.
func (t *Token) stored(ctx context.Context, rec record) ([]*object, error) {
	objects, err := t.link.find(ctx, attribute{ckaPrivate, true})
	return slices.DeleteFunc(objects, func(o *object) bool {
		r, err := parseRecord(o.recordText())
		return !o.isRecord() || err != nil || r.KID != rec.KID || r.Version != rec.Version || r.ID != rec.ID
	}), err
}
