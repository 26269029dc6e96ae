package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// DestroyKey implements [provider.Provider]. The steps are: note the intent, destroy on the primary, note the tombstone,
// destroy on the secondary, note that the copy is gone; each note is on the disk before the next step. From the tombstone
// on the version is not found, wherever it is still held. What a crash or a failing secondary leaves undone is done later,
// without being asked.
//
// The primary's error is the caller's: the key lives on then. An orphan is destroyed on the secondary alone, and what neither
// store holds any more in the manifest, which names it until then.
func (m *Mirror) DestroyKey(ctx context.Context, kid string, version int) (provider.Destruction, error) {
	if err := m.ready(ctx, provider.ValidateKID(kid), checkReserved(kid), validateDestroy(version), m.writes()); err != nil {
		return provider.Destruction{}, err
	}
	unlock, err := m.kids.lock(ctx, kid)
	if err != nil {
		return provider.Destruction{}, err
	}
	defer unlock()
	done, err := m.state.destroying(ctx)
	if err != nil {
		return provider.Destruction{}, err
	}
	defer done()
	d, err := m.doomed(ctx, kid, version)
	if err != nil {
		return provider.Destruction{}, err
	}
	if err := m.destroyPrimary(ctx, d, version); err != nil {
		return provider.Destruction{}, err
	}
	if len(d.versions) == 0 {
		return provider.Destruction{}, provider.NotFound(kid, max(version, 0))
	}
	mirroring := m.bury(context.WithoutCancel(ctx), d)
	return provider.Destruction{KID: kid, Versions: slices.Sorted(maps.Keys(d.versions)), Mirroring: &mirroring}, nil
}

func validateDestroy(version int) error {
	if version == 0 || version < provider.AllVersions {
		return provider.Invalidf("destroy version %d: want 1 or more, or AllVersions", version)
	}
	return nil
}

// doomed is what a destroy is about: what the primary holds, and the orphans.
type doomed struct {
	kid       string
	versions  map[int]provider.KeyRef
	onPrimary bool // the primary holds one of them, or may
	mirroring *provider.Mirroring
}

// doomed returns the versions that version stands for. [provider.ErrNotFound] if there are none.
func (m *Mirror) doomed(ctx context.Context, kid string, version int) (*doomed, error) {
	d := &doomed{kid: kid, versions: map[int]provider.KeyRef{}}
	list, err := askNow(ctx, m, func(ctx context.Context) (provider.KeyList, error) { return m.primary.ListVersions(ctx, kid) })
	switch damaged := errors.Is(err, provider.ErrTampered); {
	case err != nil && !damaged && !errors.Is(err, provider.ErrNotFound):
		return nil, err
	case damaged, len(list.Problems) > 0: // it may hold the version and not be able to serve it
		d.onPrimary = true
	}
	meant := func(n int) bool { return version == provider.AllVersions || n == version }
	for _, ref := range list.Keys {
		if meant(ref.Version) {
			d.versions[ref.Version], d.onPrimary = ref, true
		}
	}
	if m.cfg.Mode != None {
		m.addOrphans(ctx, d, meant)
	}
	if len(d.versions) == 0 && !d.onPrimary {
		return nil, provider.NotFound(kid, max(version, 0))
	}
	return d, nil
}

// addOrphans adds the versions that only the secondary holds, and those that the ledger knows and neither store shows: the
// secondary may not be there to say, and what both have lost is named by the manifest until it is destroyed.
func (m *Mirror) addOrphans(ctx context.Context, d *doomed, meant func(int) bool) {
	l := m.state.current()
	add := func(ref provider.KeyRef) {
		_, there := d.versions[ref.Version]
		if meant(ref.Version) && !there && !l.destroyed(ref.KID, ref.Version) {
			d.versions[ref.Version] = ref
		}
	}
	copied, _ := m.copies.versions(ctx, l, d.kid)
	for _, ref := range copied.Keys {
		add(ref)
	}
	for _, n := range l.numbers(d.kid) {
		add(provider.KeyRef{KID: d.kid, Version: n})
	}
}

// destroyPrimary notes the intent and destroys on the primary. If the primary gives no answer, the intent stays as unsure:
// when the primary is back it is asked whether it carried it out.
func (m *Mirror) destroyPrimary(ctx context.Context, d *doomed, version int) error {
	if err := m.state.update(ctx, d.intend(&intent{Owner: m.state.owner})); err != nil {
		return fmt.Errorf("note the intent to destroy: %w", err)
	}
	if !d.onPrimary {
		return nil
	}
	start := time.Now()
	answer, err := m.primary.DestroyKey(ctx, d.kid, version)
	d.mirroring = answer.Mirroring
	if errors.Is(err, provider.ErrNotFound) { // someone else was faster
		err = nil
	}
	if err = m.heard(ctx, start, err); err == nil {
		for _, n := range answer.Versions {
			if _, known := d.versions[n]; !known {
				d.versions[n] = provider.KeyRef{KID: d.kid, Version: n}
			}
		}
		return nil
	}
	undone := &intent{Owner: m.state.owner, Unsure: true}
	if errors.Is(err, provider.ErrInvalid) || errors.Is(err, provider.ErrUnsupported) || errors.Is(err, provider.ErrTampered) {
		undone = nil // nothing was touched
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.SecondaryTimeout)
	defer cancel()
	if nerr := m.state.note(limited, d.intend(undone)); nerr != nil {
		m.log.Warn("state not written", "cause", nerr)
	}
	m.keeper.want(m.repair, time.Now().Add(minProbeInterval))
	return err
}

// intend returns the change that sets the intent of every version.
func (d *doomed) intend(i *intent) func(*ledger) {
	return func(l *ledger) {
		for n, ref := range d.versions {
			v := Version{d.kid, n}
			e, known := l.get(v)
			if !e.Destroyed.IsZero() {
				continue
			}
			if !known {
				e.Fingerprint, e.ActiveFrom, e.RetireAfter = ref.Fingerprint, ref.ActiveFrom.UTC(), duration(ref.RetireAfter)
				e.details, e.heard = detailsOf(ref), d.onPrimary
			}
			e.Intent = i
			l.set(v, e)
		}
	}
}

// bury notes the tombstones of what the primary no longer holds, and destroys the copies. The caller holds the kid's lock.
func (m *Mirror) bury(ctx context.Context, d *doomed) provider.Mirroring {
	if !m.copying.enter() {
		return provider.Mirroring{Reason: "the mirror was closed meanwhile"}
	}
	defer m.copying.leave()
	limited, cancel := m.copies.budget(ctx)
	defer cancel()
	now := time.Now().UTC()
	err := m.state.note(limited, func(l *ledger) {
		for n := range d.versions {
			e, _ := l.get(Version{d.kid, n})
			e = e.bury(now, m.cfg.Mode != None)
			l.set(Version{d.kid, n}, e)
		}
	})
	mirroring := provider.Mirroring{Mirrored: true}
	if err != nil {
		m.log.Warn("state not written", "cause", err)
		mirroring.Reason = fmt.Sprintf("not noted in the state: %v", err)
	}
	for n := range d.versions {
		m.stamps.forget(Version{d.kid, n})
		m.found.destroyed(Version{d.kid, n})
	}
	if m.cfg.Mode == None {
		mirroring.Reason = "mode none: the secondary is not touched"
	} else if reasons := m.destroyCopies(limited, d.kid); len(reasons) > 0 {
		mirroring = provider.Mirroring{Reason: strings.Join(reasons, "; ")}
	}
	if inner := d.mirroring; inner != nil && !inner.Mirrored { // the primary is a mirror too
		mirroring = provider.Mirroring{Reason: strings.TrimSuffix("primary: "+inner.Reason+"; "+mirroring.Reason, "; ")}
	}
	return mirroring
}

// destroyCopies destroys every copy of a destroyed version of kid that is left, and returns why it could not for those that
// remain. They are tried again without being asked.
func (m *Mirror) destroyCopies(ctx context.Context, kid string) (reasons []string) {
	l := m.state.current()
	var gone []Version
	for _, n := range l.numbers(kid) {
		v := Version{kid, n}
		if e, _ := l.get(v); !e.CopyLeft {
			continue
		}
		err := m.copies.destroy(ctx, l, v)
		m.carried(v, err == nil, fmt.Sprint(err))
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %v", v, err))
			continue
		}
		gone = append(gone, v)
	}
	if len(gone) == 0 {
		return reasons
	}
	err := m.state.note(ctx, func(l *ledger) {
		for _, v := range gone {
			e, _ := l.get(v)
			e.CopyLeft, e.Copy = false, nil
			l.set(v, e)
		}
	})
	if err != nil {
		m.log.Warn("state not written", "cause", err) // the copy is gone: it will be asked for once more
	}
	return reasons
}
