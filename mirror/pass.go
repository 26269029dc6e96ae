package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// pass is one reconciliation.
type pass struct {
	m        *Mirror
	demanded bool // by a caller
	report   Report
	said     []testimony // of the primary, to be noted in one go
	suspects []Version   // what the primary lacked once
}

// run compares every key of the two stores.
func (p *pass) run(ctx context.Context) error {
	held, err := ask(ctx, p.m, p.m.primary.ListKeys)
	if err != nil {
		return err
	}
	p.report.Problems = append(p.report.Problems, held.Problems...)
	copied, err := p.m.copies.keys(ctx, p.m.state.current())
	if err != nil {
		return err
	}
	for _, problem := range copied.Problems {
		p.report.Problems = append(p.report.Problems, fmt.Errorf("mirror: %w", problem))
	}
	kids := map[string]bool{}
	for _, ref := range slices.Concat(held.Keys, copied.Keys) {
		kids[ref.KID] = true
	}
	delete(kids, ManifestKID)
	for _, kid := range slices.Sorted(maps.Keys(kids)) {
		if err := p.key(ctx, kid); err != nil {
			return err
		}
	}
	return p.confirmOrphans(ctx)
}

// note writes what the primary said into the state, and so has a new manifest signed. A pass that nobody asked for leaves
// that out if it has nothing to add to a manifest that is young.
func (p *pass) note(ctx context.Context) error {
	change := func(l *ledger) {
		for _, t := range p.said {
			l.vouch(t)
		}
		l.miss(time.Now().UTC(), p.report.Orphans)
	}
	if !p.demanded && p.m.state.says(change, p.m.cfg.ReconcileEvery) {
		return nil
	}
	return p.m.state.note(ctx, change)
}

// held is what the secondary's list says of a copy. Without a copy nothing is said: a mirror in mode none does not look.
var held = map[bool]carriage{true: carried, false: asBefore}

// damaged notes what a store holds and can't serve. It keeps no other version from being compared, and is no orphan.
func (p *pass) damaged(err error) {
	if !slices.ContainsFunc(p.report.Problems, func(known error) bool { return known.Error() == err.Error() }) { // a list may have told it
		p.report.Problems = append(p.report.Problems, err)
	}
}

// key compares one key. It holds the kid's lock, so that no change comes between the two answers.
func (p *pass) key(ctx context.Context, kid string) error {
	unlock, err := p.m.kids.lock(ctx, kid)
	if err != nil {
		return err
	}
	defer unlock()
	held, err := ask(ctx, p.m, func(ctx context.Context) (provider.KeyList, error) { return p.m.primary.ListVersions(ctx, kid) })
	if errors.Is(err, provider.ErrTampered) {
		p.damaged(err)
		return nil
	}
	if err != nil && !errors.Is(err, provider.ErrNotFound) {
		return err
	}
	copied, err := p.m.copies.versions(ctx, p.m.state.current(), kid)
	if err != nil && !errors.Is(err, provider.ErrTampered) { // over a damaged copy none can be made, which says why
		return err
	}
	there := make(map[int]provider.KeyRef, len(copied.Keys))
	for _, ref := range copied.Keys {
		there[ref.Version] = ref
	}
	p.m.confirm(held.Keys...)
	p.report.Versions += len(held.Keys)
	for _, ref := range held.Keys {
		twin, copied := there[ref.Version]
		delete(there, ref.Version)
		if err := p.version(ctx, ref, twin, copied); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(there)) {
		if err := p.orphan(ctx, there[n]); err != nil {
			return err
		}
	}
	return nil
}

// version compares a version that the primary holds with its copy.
func (p *pass) version(ctx context.Context, ref, twin provider.KeyRef, copied bool) error {
	v := nameOf(ref)
	e, known := p.m.state.current().get(v)
	if !e.Destroyed.IsZero() {
		p.report.Problems = append(p.report.Problems, fmt.Errorf("%w: primary holds %q, which was destroyed", provider.ErrTampered, v))
		return nil
	}
	if ref.Provenance.Source != provider.Primary {
		return nil // a primary that is a mirror too, and answers from its copies: nothing to vouch for
	}
	if known && e.Fingerprint != ref.Fingerprint || copied && twin.Fingerprint != ref.Fingerprint {
		c := Conflict{Version: v, Vouched: e.Fingerprint, Primary: ref.Fingerprint, Secondary: twin.Fingerprint}
		if !known {
			c.Vouched = ref.Fingerprint
		}
		p.report.Conflicts = append(p.report.Conflicts, c)
		return p.confirm(ctx, ref, asBefore)
	}
	if copied && !p.wants(ref, twin) || p.m.cfg.Mode == None {
		return p.confirm(ctx, ref, held[copied])
	}
	mirroring, t := p.m.copy(ctx, ref)
	p.m.carried(v, mirroring.Mirrored, mirroring.Reason)
	switch {
	case !mirroring.Mirrored:
		p.report.Unmirrored = append(p.report.Unmirrored, Unmirrored{v, mirroring.Reason})
	case !copied && ref.Alg.Class() == provider.Symmetric && !mirroring.Private:
	case copied && sameButPrivate(ref, twin) && !mirroring.Private: // the primary keeps the private half: nothing was added
	default:
		p.report.Copied = append(p.report.Copied, v)
	}
	p.said = append(p.said, t)
	return ctx.Err()
}

// confirm notes what the primary says of a version whose copy is as it should be, or is left alone.
func (p *pass) confirm(ctx context.Context, ref provider.KeyRef, copy carriage) error {
	t := testimony{ref: ref, when: time.Now(), copy: copy}
	if e, _ := p.m.state.current().get(nameOf(ref)); e.jwk == nil && ref.Alg.Class() != provider.Symmetric && p.m.state.notary != nil {
		k, err := ask(ctx, p.m, func(ctx context.Context) (provider.JWK, error) {
			return p.m.primary.PublicJWK(ctx, ref.KID, ref.Version)
		})
		if errors.Is(err, provider.ErrTampered) {
			p.damaged(err)
			return nil
		}
		if err != nil {
			return err
		}
		t.jwk = k.JSON()
	}
	p.said = append(p.said, t)
	return nil
}

// wants tells whether the copy should be made again: it lacks a private half that may be copied, or differs in what else a
// replica keeps.
func (p *pass) wants(ref, twin provider.KeyRef) bool {
	private := p.m.cfg.Mode == Full && ref.Private && ref.Export == provider.ExportSecretWhenAllowed && !twin.Private
	if _, ok := p.m.primary.(provider.Exporting); private && ok {
		return true
	}
	return !sameButPrivate(ref, twin)
}

// sameButPrivate tells whether a copy is described as its version is, whether or not it has the private half.
func sameButPrivate(ref, twin provider.KeyRef) bool {
	return twin.ActiveFrom.Equal(ref.ActiveFrom) && twin.RetireAfter == ref.RetireAfter && twin.Export == ref.Export &&
		twin.Label == ref.Label && maps.Equal(twin.Tags, ref.Tags) && slices.Equal(twin.Uses, ref.Uses)
}

// orphan looks at a copy that the primary's list does not name.
func (p *pass) orphan(ctx context.Context, twin provider.KeyRef) error {
	v := nameOf(twin)
	e, known := p.m.state.current().get(v)
	switch {
	case !e.Destroyed.IsZero():
		return p.zombie(ctx, v)
	case e.Intent != nil || p.m.cfg.Mode == None:
		return nil
	}
	_, err := ask(ctx, p.m, func(ctx context.Context) (provider.KeyRef, error) { return p.m.primary.GetKey(ctx, v.KID, v.Version) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, provider.ErrTampered):
		p.damaged(err)
		return nil
	case !errors.Is(err, provider.ErrNotFound):
		return err
	}
	if known && e.Fingerprint != twin.Fingerprint {
		p.report.Conflicts = append(p.report.Conflicts, Conflict{Version: v, Vouched: e.Fingerprint, Secondary: twin.Fingerprint})
	}
	p.suspects = append(p.suspects, v)
	return nil
}

// confirmOrphans looks a second time for what the primary lacked: after it has said that it is well, and in lists asked for
// anew. What it lacks again is an orphan.
func (p *pass) confirmOrphans(ctx context.Context) error {
	if len(p.suspects) == 0 {
		return nil
	}
	_, err := ask(ctx, p.m, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, check(ctx, p.m.primary, p.m.cfg.PrimaryTimeout)
	})
	if err != nil {
		return err
	}
	for _, v := range p.suspects {
		list, err := ask(ctx, p.m, func(ctx context.Context) (provider.KeyList, error) { return p.m.primary.ListVersions(ctx, v.KID) })
		switch {
		case errors.Is(err, provider.ErrTampered):
			p.damaged(err)
		case err != nil && !errors.Is(err, provider.ErrNotFound):
			return err
		case !slices.ContainsFunc(list.Keys, func(ref provider.KeyRef) bool { return ref.Version == v.Version }):
			p.report.Orphans = append(p.report.Orphans, v)
		}
	}
	return nil
}

// zombie destroys a copy of a destroyed version that came back: an older state of the secondary was restored, or a copy
// made by another process arrived late.
func (p *pass) zombie(ctx context.Context, v Version) error {
	if p.m.cfg.Mode == None {
		return nil
	}
	if err := p.m.copies.destroy(ctx, p.m.state.current(), v); err != nil {
		return err
	}
	p.report.Finished = append(p.report.Finished, v)
	return nil
}
