package softfile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ImportSet brings the versions of an export into the store, with their kids and numbers, schedules and descriptions, and
// the memory of what was destroyed. data is what ExportPublic or ExportEncrypted returned; source is asked for the
// passphrase of the latter only, and may be nil for the former.
//
// Each version is stored as a whole or not at all. What the store has already, just so, counts as taken, so that an import
// that was cut short can be done again; a private half is added to a version that has none. Nothing that stands there
// is changed. If a version is there as another key, with another description, or was destroyed, nothing is stored under that
// kid, and the report says so with [provider.ErrExists]. A store that was opened without a passphrase takes public halves
// only, and reports the others with [provider.ErrAuth].
//
// [provider.ErrInvalid], with nothing stored, if data is no export; [provider.ErrAuth] if its passphrase is another one.
// After any other error the report holds what was taken until then.
func (s *Store) ImportSet(ctx context.Context, data []byte, source provider.SecretSource) (Report, error) {
	if err := s.enter(ctx); err != nil {
		return Report{}, err
	}
	secret := !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
	if secret {
		plaintext, err := openSet(ctx, data, source)
		if err != nil {
			return Report{}, err
		}
		defer clear(plaintext)
		data = plaintext
	}
	set, err := parseSet(data)
	if err != nil {
		return Report{}, err
	}
	in := intake{store: s, secret: secret, kids: map[string]*arrivals{}}
	defer in.wipe()
	for _, text := range set.About.Destroyed {
		if err := in.stones(text); err != nil {
			return Report{}, err
		}
	}
	for i, text := range set.Keys {
		in.key(i, text)
		clear(text)
	}
	for _, kid := range slices.Sorted(maps.Keys(in.kids)) {
		if err := s.takeIn(ctx, *in.kids[kid], &in.report); err != nil {
			return in.report, err
		}
	}
	return in.report, nil
}

// openSet decrypts an Encrypted JWK Set. The caller wipes it.
func openSet(ctx context.Context, data []byte, source provider.SecretSource) ([]byte, error) {
	j, err := parseSetJWE(string(bytes.TrimSpace(data)))
	if err != nil {
		return nil, provider.Invalidf("encrypted set: %w", err)
	}
	if err := wantSource(source); err != nil {
		return nil, err
	}
	passphrase, err := askFor(ctx, "the set", source)
	if err != nil {
		return nil, err
	}
	defer passphrase.Wipe()
	kek, err := j.header.derive(passphrase.Expose())
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	plaintext, err := j.open(kek)
	if err != nil {
		return nil, fmt.Errorf("%w: passphrase of the set: %w", provider.ErrAuth, err)
	}
	return plaintext, nil
}

// intake sorts what is in a set by kid.
type intake struct {
	store  *Store
	secret bool // the set was encrypted
	kids   map[string]*arrivals
	report Report
}

func (in *intake) of(kid string) *arrivals {
	if in.kids[kid] == nil {
		in.kids[kid] = &arrivals{kid: kid}
	}
	return in.kids[kid]
}

// stones takes in the tombstones of one key. Without them, versions would come back that were destroyed or retired: bad ones
// spoil the set.
func (in *intake) stones(text []byte) error {
	var head struct {
		KID string `json:"kid"`
	}
	if json.Unmarshal(text, &head) != nil || provider.ValidateKID(head.KID) != nil {
		return errSet
	}
	a := in.of(head.KID)
	stones, err := parseTombstones(head.KID, text)
	if err != nil || a.stones != nil {
		return errSet
	}
	a.stones = stones
	return nil
}

func (in *intake) key(i int, text []byte) {
	name := fmt.Sprintf("keys[%d]", i)
	var k setKey
	if err := decodeStrict(text, &k); err != nil {
		in.report.leave(name, provider.Invalidf("%w", errSetKey))
		return
	}
	if _, _, ok := provider.SplitJWKKID(k.KID); ok {
		name = k.KID
	}
	ref, key, err := k.parse(in.secret)
	if err != nil {
		in.report.leave(name, err)
		return
	}
	a := in.of(ref.KID)
	if slices.ContainsFunc(a.versions, func(o arrival) bool { return o.rec.Version == ref.Version }) {
		key.Symmetric.Wipe()
		in.report.leave(name, provider.Invalidf("twice in the set"))
		return
	}
	arrived, err := in.store.admit(ref, key, &in.report)
	if err != nil {
		key.Symmetric.Wipe()
		in.report.leave(name, err)
		return
	}
	a.versions = append(a.versions, arrived)
}

func (in *intake) wipe() {
	for _, a := range in.kids {
		for _, v := range a.versions {
			v.key.Symmetric.Wipe()
		}
	}
}
