package softfile

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// PutVersion implements [provider.Replica]. A private half that stands there stays, also if material holds none.
//
// [provider.ErrAuth] if the store was opened without a passphrase and there is a private half to store, or one to encrypt
// anew because its uses or its export policy change. [provider.ErrTampered] if the version's record can't be read.
func (s *Store) PutVersion(ctx context.Context, ref provider.KeyRef, material provider.KeyMaterial) (provider.KeyRef, error) {
	spec, invalid := ref.Spec().Normalize()
	if err := s.enter(ctx, provider.ValidateKID(ref.KID), invalid, validateReplica(ref)); err != nil {
		return provider.KeyRef{}, err
	}
	key, err := material.Parse(ref.Alg, ref.Bits)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer key.Symmetric.Wipe()
	rec, err := replicaRecord(ref, spec, key)
	if err != nil {
		return provider.KeyRef{}, err
	}
	if s.vault == nil && hasPrivate(key) {
		return provider.KeyRef{}, errLocked("store a private key")
	}
	return s.change(ctx, ref.KID, func(c *change) (int, error) { return rec.Version, c.put(rec, key) })
}

func validateReplica(ref provider.KeyRef) error {
	if ref.Version < 1 || ref.Version > maxVersion {
		return provider.Invalidf("version %d of a copy: want 1 to %d", ref.Version, maxVersion)
	}
	if ref.RetireAfter < 0 {
		return provider.Invalidf("copy of %q retires after %v: want no negative duration", ref.JWKKID(), ref.RetireAfter)
	}
	return nil
}

// replicaRecord returns the record of a copy, without its private half.
func replicaRecord(ref provider.KeyRef, spec provider.KeySpec, key provider.ParsedMaterial) (*record, error) {
	rec := &record{
		Format: formatVersion, KID: ref.KID, Version: ref.Version, Alg: spec.Alg, Bits: key.Bits, Uses: spec.Uses, Export: spec.Export,
		Label: spec.Label, Tags: spec.Tags, Created: ref.Created.UTC(), ActiveFrom: ref.ActiveFrom.UTC(), RetireAfter: seconds(ref.RetireAfter),
		Imported: ref.Imported,
	}
	var err error
	if rec.Public, rec.Fingerprint, err = publicFor(key); err != nil {
		return nil, err
	}
	if rec.Fingerprint != ref.Fingerprint {
		return nil, provider.Invalidf("copy of %q: the material is not the key of the fingerprint %.50q", ref.JWKKID(), ref.Fingerprint)
	}
	return rec, nil
}

// put stores a copy, or brings the copy that stands there up to date.
func (c *change) put(rec *record, key provider.ParsedMaterial) error {
	there, err := c.standing(rec)
	if err != nil {
		return err
	}
	if rec.Created.IsZero() { // where it comes from nobody can tell
		rec.Created = time.Now().UTC().Truncate(time.Second)
		if there != nil {
			rec.Created = there.rec.Created
		}
	}
	if there == nil {
		return c.create(rec, key)
	}
	return c.update(there, rec, key)
}

// standing returns the version that stands where rec is to be; nil if the number is free.
func (c *change) standing(rec *record) (*version, error) {
	if c.entry == nil {
		return nil, nil
	}
	if slices.ContainsFunc(c.entry.tombstones, func(t tombstone) bool { return t.Version == rec.Version }) {
		return nil, fmt.Errorf("%w, and was destroyed", provider.Exists(rec.KID, rec.Version))
	}
	for _, p := range c.entry.problems {
		if p.version == rec.Version {
			return nil, p.err
		}
	}
	there, err := c.entry.version(rec.KID, rec.Version)
	if err != nil {
		return nil, nil // not found
	}
	return there, nil
}

// update gives the version that stands there the description of rec, and the private half of key if it has none.
func (c *change) update(there *version, rec *record, key provider.ParsedMaterial) error {
	if there.rec.Alg != rec.Alg || there.rec.Bits != rec.Bits || there.rec.Fingerprint != rec.Fingerprint {
		return provider.Exists(rec.KID, rec.Version)
	}
	if there.rec.Private != "" {
		kept, err := c.keepPrivate(there, rec, key)
		if err != nil {
			return err
		}
		defer kept.Symmetric.Wipe()
		key = kept
	}
	if err := c.seal(rec, key); err != nil {
		return err
	}
	if rec.equal(there.rec) {
		return c.confirm()
	}
	data, err := rec.encode()
	if err != nil {
		return err
	}
	c.stale = true
	return classify(c.dir.Replace(recordPath(rec.KID, rec.Version), data))
}

// keepPrivate sees to it that the private half that stands there is in rec too: as it is encrypted, or, if what it was
// encrypted with changes or a secret had to be compared, as the returned key, which is to be encrypted again. ErrExists if
// a secret that key holds is another one.
func (c *change) keepPrivate(there *version, rec *record, key provider.ParsedMaterial) (provider.ParsedMaterial, error) {
	bound := rec.exportable() == there.rec.exportable() && slices.Equal(keyOps(rec.Alg, rec.Uses), keyOps(there.rec.Alg, there.rec.Uses))
	if bound && key.Symmetric.Empty() {
		rec.Private = there.rec.Private
		return provider.ParsedMaterial{}, nil
	}
	if c.store.vault == nil {
		return provider.ParsedMaterial{}, errLocked("encrypt a private key anew")
	}
	kept, err := c.store.vault.open(there)
	if err != nil {
		return provider.ParsedMaterial{}, err
	}
	if subtle.ConstantTimeCompare(kept.Symmetric.Expose(), key.Symmetric.Expose()) != 1 {
		kept.Symmetric.Wipe()
		return provider.ParsedMaterial{}, provider.Exists(rec.KID, rec.Version)
	}
	return kept, nil
}
