package softfile

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ExportPublic returns the public halves of all versions of all keys, whatever their state, as a JWK Set from which
// ImportSet makes the same store again. It is no set to serve to verifiers: retired versions are in it, which JWKS leaves
// out. Symmetric keys and what can't be read are in the report.
//
// The set is neither signed nor secret: it is as good as the way that it comes.
func (s *Store) ExportPublic(ctx context.Context) ([]byte, Report, error) {
	if err := s.enter(ctx); err != nil {
		return nil, Report{}, err
	}
	x := exporter{store: s, now: time.Now()}
	return x.export(ctx, x.public)
}

// ExportEncrypted is ExportPublic with the private and secret halves of the keys whose export policy lets them out, as an
// Encrypted JWK Set (RFC 7517 section 7): a JWE in compact serialization under the passphrase that source gives. A half
// that its policy keeps in is in the report, with [provider.ErrNotExportable]; its version is in the set as a public one,
// if it has a public half. To move such keys, copy the store's directory.
//
// [provider.ErrAuth] if the store was opened without a passphrase, or source has none to give.
func (s *Store) ExportEncrypted(ctx context.Context, source provider.SecretSource) ([]byte, Report, error) {
	if err := s.enter(ctx, wantSource(source)); err != nil {
		return nil, Report{}, err
	}
	if s.vault == nil {
		return nil, Report{}, errLocked("export private keys")
	}
	passphrase, err := askFor(ctx, "the export", source)
	if err != nil {
		return nil, Report{}, err
	}
	defer passphrase.Wipe()
	x := exporter{store: s, now: time.Now()}
	set, report, err := x.export(ctx, x.private)
	if err != nil {
		return nil, report, err
	}
	defer clear(set)
	text, err := s.sealSet(passphrase, set)
	return text, report, err
}

func wantSource(source provider.SecretSource) error {
	if source == nil {
		return fmt.Errorf("%w: encrypted set: want a passphrase", provider.ErrAuth)
	}
	return nil
}

func (s *Store) sealSet(passphrase provider.Secret, set []byte) ([]byte, error) {
	h := jweHeader{Alg: algPassphrase, Cty: ctyJWKSet, P2S: b64.EncodeToString(random(saltSize)), P2C: s.iterations}
	kek, err := h.derive(passphrase.Expose())
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	text, err := sealJWE(h, kek, set)
	return []byte(text), err
}

// exporter makes one export.
type exporter struct {
	store  *Store
	now    time.Time
	keys   [][]byte
	about  setAbout
	report Report
}

// export returns the set of what member makes of each version. The caller wipes it.
func (x *exporter) export(ctx context.Context, member func(*version, provider.KeyRef) error) ([]byte, Report, error) {
	defer func() {
		for _, k := range x.keys {
			clear(k)
		}
	}()
	if err := x.store.index.recheck(ctx); err != nil {
		return nil, Report{}, err
	}
	entries, problems, _ := x.store.index.all(func(string) bool { return true })
	for _, err := range problems {
		x.report.leave(keysDir, err)
	}
	x.about.Format = formatVersion
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, x.report, err
		}
		if err := x.entry(e, member); err != nil {
			return nil, x.report, err
		}
	}
	set, err := joinSet(x.keys, x.about)
	return set, x.report, err
}

// entry adds one key. Without its tombstones it can't be known which versions are alive: then none is added.
func (x *exporter) entry(e *entry, member func(*version, provider.KeyRef) error) error {
	for _, p := range e.problems {
		name := e.kid
		if p.version > 0 {
			name = provider.JWKKID(e.kid, p.version)
		}
		x.report.leave(name, p.err)
	}
	if e.writable() != nil {
		return nil
	}
	if len(e.tombstones) > 0 {
		text, err := json.Marshal(tombstones{formatVersion, e.kid, e.tombstones})
		if err != nil {
			return err
		}
		x.about.Destroyed = append(x.about.Destroyed, text)
	}
	var failed error
	e.states(x.now, func(v *version, state provider.State) {
		if failed == nil {
			failed = member(v, x.store.describe(v, state, x.now))
		}
	})
	return failed
}

// public adds the public half of a version.
func (x *exporter) public(v *version, ref provider.KeyRef) error {
	if v.public == nil {
		x.report.leave(ref.JWKKID(), provider.Unsupportedf("a %s key is symmetric and has no public half", ref.Alg))
		return nil
	}
	k, err := x.store.publicJWK(v, ref.State, x.now)
	if err != nil {
		return err
	}
	ref.Private = false
	return x.add(v, ref, k.JSON())
}

// private adds a version with its private half, if that may leave the store.
func (x *exporter) private(v *version, ref provider.KeyRef) error {
	if v.rec.Private == "" {
		return x.public(v, ref)
	}
	if !v.rec.exportable() {
		err := fmt.Errorf("%w: the policy is %s", provider.ErrNotExportable, v.rec.Export)
		if v.public == nil {
			x.report.leave(ref.JWKKID(), err)
			return nil
		}
		x.report.leavePrivate(ref.JWKKID(), err)
		return x.public(v, ref)
	}
	key, err := x.store.vault.open(v)
	if err != nil {
		x.report.leave(ref.JWKKID(), err)
		return nil
	}
	defer key.Symmetric.Wipe()
	text, err := encodePrivate(v.rec, key)
	if err != nil {
		return err
	}
	defer clear(text)
	return x.add(v, ref, text)
}

func (x *exporter) add(v *version, ref provider.KeyRef, jwk []byte) error {
	text, err := withMember(jwk, newKeyAbout(v.rec))
	if err != nil {
		return err
	}
	x.keys = append(x.keys, text)
	x.report.Taken = append(x.report.Taken, ref)
	return nil
}
