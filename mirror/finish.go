package mirror

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// finish carries on every destroy that was left undone, by this process or by one that died. It returns the first error of
// a store that gave no answer, after it has tried them all.
func (m *Mirror) finish(ctx context.Context, r *Report) error {
	var failure error
	for _, kid := range m.state.current().unfinished() {
		if err := m.finishKey(ctx, kid, r); err != nil && failure == nil {
			failure = err
		}
	}
	return failure
}

func (m *Mirror) finishKey(ctx context.Context, kid string, r *Report) error {
	unlock, err := m.kids.lock(ctx, kid)
	if err != nil {
		return err
	}
	defer unlock()
	done, err := m.state.destroying(ctx)
	if err != nil {
		return err
	}
	defer done()
	before := m.state.current()
	failure := m.settle(ctx, kid)
	if m.cfg.Mode != None {
		m.destroyCopies(ctx, kid)
	}
	after := m.state.current()
	for _, n := range before.numbers(kid) {
		was, _ := before.get(Version{kid, n})
		is, _ := after.get(Version{kid, n})
		switch {
		case (was.Intent != nil || was.CopyLeft) && !is.Destroyed.IsZero() && !is.CopyLeft:
			r.Finished = append(r.Finished, Version{kid, n})
		case is.CopyLeft && failure == nil && m.cfg.Mode != None:
			failure = errCopyLeft
		}
	}
	return failure
}

// errCopyLeft means the secondary still holds the copy of a destroyed version.
var errCopyLeft = errors.New("the secondary still holds a copy of a destroyed version")

// settle brings every intent of kid to its end. The caller holds the kid's lock and that of destroys, so that no one is
// working on them.
func (m *Mirror) settle(ctx context.Context, kid string) error {
	l := m.state.current()
	var gone, alive []Version
	var failure error
	for _, n := range l.numbers(kid) {
		v := Version{kid, n}
		e, _ := l.get(v)
		if e.Intent == nil {
			continue
		}
		destroyed, err := m.settled(ctx, v, *e.Intent)
		switch {
		case err != nil:
			failure = err
		case destroyed:
			gone = append(gone, v)
		default:
			alive = append(alive, v)
		}
	}
	if len(gone)+len(alive) == 0 {
		return failure
	}
	now := time.Now().UTC()
	return errors.Join(failure, m.state.note(ctx, func(l *ledger) {
		for _, v := range slices.Concat(gone, alive) {
			e, _ := l.get(v)
			e.Intent = nil
			if slices.Contains(gone, v) {
				e = e.bury(now, m.cfg.Mode != None)
			}
			l.set(v, e)
		}
	}))
}

// settled tells whether the primary no longer holds v. What a process that died wanted destroyed is destroyed now; where the
// caller was told that it failed, the primary is only asked.
func (m *Mirror) settled(ctx context.Context, v Version, i intent) (destroyed bool, err error) {
	_, err = ask(ctx, m, func(ctx context.Context) (any, error) {
		if i.Unsure {
			return m.primary.GetKey(ctx, v.KID, v.Version)
		}
		return m.primary.DestroyKey(ctx, v.KID, v.Version)
	})
	if errors.Is(err, provider.ErrNotFound) {
		return true, nil
	}
	return err == nil && !i.Unsure, err
}
