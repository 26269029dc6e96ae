package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ListVersions implements [provider.Provider]. What the secondary holds and can't read, or why it can't be asked, is among
// the Problems.
func (m *Mirror) ListVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	if err := m.readyFor(ctx, kid, 0); err != nil {
		return provider.KeyList{}, err
	}
	list, err := m.primaryVersions(ctx, kid)
	if err == nil {
		m.confirm(list.Keys...)
		return m.withOrphans(ctx, list, func(w view) (provider.KeyList, error) { return m.copies.versions(ctx, w.l, kid) }), nil
	}
	w, err := m.instead(ctx, err)
	if err != nil {
		return provider.KeyList{}, err
	}
	list, _, err = afresh(ctx, w, func(w view) (provider.KeyList, error) { return w.versions(ctx, kid) })
	return list, err
}

// ListKeys implements [provider.Provider]. What the secondary holds and can't read, or why it can't be asked, is among the
// Problems.
func (m *Mirror) ListKeys(ctx context.Context) (provider.KeyList, error) {
	if err := m.ready(ctx); err != nil {
		return provider.KeyList{}, err
	}
	m.state.look(ctx, false)
	list, err := ask(ctx, m, m.primary.ListKeys)
	if err == nil {
		list, err = m.highestAlive(ctx, list)
	}
	if err == nil {
		m.confirm(list.Keys...)
		return m.withOrphans(ctx, list, func(w view) (provider.KeyList, error) { return w.keysBut(ctx, list.Keys) }), nil
	}
	w, err := m.instead(ctx, err)
	if err != nil {
		return provider.KeyList{}, err
	}
	return w.keys(ctx)
}

// primaryVersions returns the primary's versions of kid, without those that were destroyed through the mirror.
func (m *Mirror) primaryVersions(ctx context.Context, kid string) (provider.KeyList, error) {
	list, err := ask(ctx, m, func(ctx context.Context) (provider.KeyList, error) { return m.primary.ListVersions(ctx, kid) })
	if err != nil {
		return list, err
	}
	l := m.state.current()
	list.Keys = slices.DeleteFunc(list.Keys, func(ref provider.KeyRef) bool { return l.destroyed(kid, ref.Version) })
	if len(list.Keys) == 0 {
		return provider.KeyList{}, provider.NotFound(kid, 0)
	}
	return list, nil
}

// highestAlive replaces in the primary's list every version that was destroyed through the mirror by the highest one of
// its key that was not.
func (m *Mirror) highestAlive(ctx context.Context, list provider.KeyList) (provider.KeyList, error) {
	l := m.state.current()
	alive := list.Keys[:0]
	for _, ref := range list.Keys {
		if ref.KID == ManifestKID {
			continue
		}
		if l.destroyed(ref.KID, ref.Version) {
			versions, err := m.primaryVersions(ctx, ref.KID)
			if errors.Is(err, provider.ErrNotFound) {
				continue
			}
			if err != nil {
				return list, err
			}
			ref = versions.Keys[len(versions.Keys)-1]
		}
		alive = append(alive, ref)
	}
	list.Keys = alive
	return list, nil
}

// withOrphans adds to the primary's list what copied returns and the primary no longer has. A secondary that fails is a
// problem of the list and no more.
func (m *Mirror) withOrphans(ctx context.Context, list provider.KeyList, copied func(view) (provider.KeyList, error)) provider.KeyList {
	if !m.cfg.servesOrphans() {
		return list
	}
	w, err := m.look(ctx, noLonger)
	var there provider.KeyList
	if err == nil {
		there, err = copied(w)
	}
	if err != nil {
		list.Problems = append(list.Problems, fmt.Errorf("mirror: %w", err))
		return list
	}
	for _, problem := range there.Problems {
		list.Problems = append(list.Problems, fmt.Errorf("mirror: %w", problem))
	}
	sorted := list.Keys
	for _, ref := range there.Keys {
		if _, found := slices.BinarySearchFunc(sorted, ref, compareRefs); found {
			continue
		}
		if err := w.orphan(ctx, ref); err == nil {
			list.Keys = append(list.Keys, w.finish(ref))
		} else if errors.Is(err, provider.ErrTampered) {
			list.Problems = append(list.Problems, fmt.Errorf("mirror: %w", err))
		}
	}
	if len(list.Keys) > len(sorted) {
		list.Provenance = m.merged(list.Provenance, list.Keys)
		slices.SortFunc(list.Keys, compareRefs)
	}
	return list
}

// keysBut describes the highest copy of every key that has no version in refs, which are in ascending order.
func (w view) keysBut(ctx context.Context, refs []provider.KeyRef) (provider.KeyList, error) {
	list, err := w.m.copies.keys(ctx, w.l)
	if err != nil {
		return list, err
	}
	others := list.Keys[:0]
	for _, ref := range list.Keys {
		_, found := slices.BinarySearchFunc(refs, ref.KID, func(r provider.KeyRef, kid string) int { return strings.Compare(r.KID, kid) })
		if found {
			continue
		}
		if ref, _ = w.highest(ctx, ref); ref.KID != "" {
			others = append(others, ref)
		}
	}
	list.Keys = others
	return list, nil
}

// noLonger is why an orphan is served.
var noLonger = absence{err: fmt.Errorf("primary: %w", provider.ErrNotFound), answered: true}

// orphan returns nil if the copy that ref describes may be served, and the primary says that it does not have the version.
// It asks the primary once for each: an orphan found stays one as long as it is missing from the primary's lists.
func (w view) orphan(ctx context.Context, ref provider.KeyRef) error {
	if err := w.admit(ref); err != nil {
		return err
	}
	v := nameOf(ref)
	if w.m.found.isOrphan(v) {
		return nil
	}
	_, err := ask(ctx, w.m, func(ctx context.Context) (provider.KeyRef, error) { return w.m.primary.GetKey(ctx, v.KID, v.Version) })
	switch {
	case err == nil:
		return provider.Exists(v.KID, v.Version)
	case !errors.Is(err, provider.ErrNotFound):
		return err
	}
	// A destroy that the primary has carried out since the view was made shows only now.
	w.m.state.look(ctx, true)
	if err := (view{w.m, w.m.state.current(), w.why, time.Now()}).admit(ref); err != nil {
		return err
	}
	w.m.found.orphan(v)
	return nil
}

// merged returns the provenance of an answer to which the secondary contributed.
func (m *Mirror) merged(p provider.Provenance, refs []provider.KeyRef) provider.Provenance {
	p.Source = provider.Merged
	for _, ref := range refs {
		if ref.Provenance.Orphan && ref.Provenance.AsOf.Before(p.AsOf) {
			p.AsOf = ref.Provenance.AsOf
		}
	}
	return m.aged(p)
}
