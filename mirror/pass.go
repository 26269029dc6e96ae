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
	m       *Mirror
	report  Report
	vouched []func(*ledger) // what the primary said, to be noted in one go
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
	for _, kid := range slices.Sorted(maps.Keys(kids)) {
		if err := p.key(ctx, kid); err != nil {
			return err
		}
	}
	return nil
}

// note writes what the primary said into the state.
func (p *pass) note(ctx context.Context) error {
	if len(p.vouched) == 0 {
		return nil
	}
	return p.m.state.note(ctx, func(l *ledger) {
		for _, vouch := range p.vouched {
			vouch(l)
		}
	})
}

// key compares one key. It holds the kid's lock, so that no change comes between the two answers.
func (p *pass) key(ctx context.Context, kid string) error {
	unlock, err := p.m.kids.lock(ctx, kid)
	if err != nil {
		return err
	}
	defer unlock()
	held, err := ask(ctx, p.m, func(ctx context.Context) (provider.KeyList, error) { return p.m.primary.ListVersions(ctx, kid) })
	if err != nil && !errors.Is(err, provider.ErrNotFound) {
		return err
	}
	copied, err := p.m.copies.versions(ctx, p.m.state.current(), kid)
	if err != nil {
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
		p.vouch(ref, false, nil)
		return nil
	}
	if copied && !p.wants(ref, twin) || p.m.cfg.Mode == None {
		if !known || e.Conflict != "" || !e.ActiveFrom.Equal(ref.ActiveFrom) || time.Duration(e.RetireAfter) != ref.RetireAfter {
			p.vouch(ref, false, nil)
		}
		return nil
	}
	mirroring, at := p.m.copy(ctx, ref)
	p.m.carried(v, mirroring.Mirrored, mirroring.Reason)
	switch {
	case !mirroring.Mirrored:
		p.report.Unmirrored = append(p.report.Unmirrored, Unmirrored{v, mirroring.Reason})
	case !copied && ref.Alg.Class() == provider.Symmetric && !mirroring.Private:
	default:
		p.report.Copied = append(p.report.Copied, v)
	}
	p.vouch(ref, mirroring.Mirrored, at)
	return ctx.Err()
}

func (p *pass) vouch(ref provider.KeyRef, copied bool, at *placed) {
	now := time.Now()
	p.vouched = append(p.vouched, func(l *ledger) { l.vouch(ref, now, copied, at) })
}

// wants tells whether the copy should be made again: it lacks a private half that may be copied, or differs in what else a
// replica keeps.
func (p *pass) wants(ref, twin provider.KeyRef) bool {
	private := p.m.cfg.Mode == Full && ref.Private && ref.Export == provider.ExportSecretWhenAllowed && !twin.Private
	if _, ok := p.m.primary.(provider.Exporting); private && ok {
		return true
	}
	return !twin.ActiveFrom.Equal(ref.ActiveFrom) || twin.RetireAfter != ref.RetireAfter || twin.Export != ref.Export ||
		twin.Label != ref.Label || !maps.Equal(twin.Tags, ref.Tags) || !slices.Equal(twin.Uses, ref.Uses)
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
	case !errors.Is(err, provider.ErrNotFound):
		return err
	}
	p.report.Orphans = append(p.report.Orphans, v)
	if known && e.Fingerprint != twin.Fingerprint {
		p.report.Conflicts = append(p.report.Conflicts, Conflict{Version: v, Vouched: e.Fingerprint, Secondary: twin.Fingerprint})
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
