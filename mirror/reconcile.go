package mirror

import (
	"context"
	"time"
)

// maxRepairInterval is the longest time between two passes while the secondary answers and can't take a copy.
const maxRepairInterval = 10 * time.Minute

// Reconcile compares the two stores, copies what the secondary lacks, finishes destroys that were left undone, and reports
// the rest. It changes nothing on the primary but such destroys, and never deletes on the strength of an absence. The
// Mirror also runs it by itself: after the first answer of the primary, after each outage of either store, every
// Config.ReconcileEvery, and, with pauses, while anything waits to be mirrored or signed. A pass that was asked for,
// has something new to say, or comes when the manifest is Config.ReconcileEvery old, has a new one signed.
//
// A version is an orphan only if the primary lacks it twice: in its lists, and after it has said that it is well and has
// been asked for its lists anew. Some modules show less than there is for a while.
//
// What a store holds and can't serve stands in the Report, among its Problems or what is unmirrored, and keeps nothing else from
// being repaired. The error is that of the store that could not be asked; the Report then says what was done until then. In mode
// None nothing is copied.
func (m *Mirror) Reconcile(ctx context.Context) (Report, error) {
	if err := m.ready(ctx, m.writes()); err != nil {
		return Report{}, err
	}
	if m.up.down() != nil {
		m.probePrimary(ctx) // who asks wants to know it now
	}
	return m.reconcile(ctx, true)
}

func (m *Mirror) reconcile(ctx context.Context, demanded bool) (Report, error) {
	select {
	case m.reconciling <- struct{}{}:
		defer func() { <-m.reconciling }()
	case <-ctx.Done():
		return Report{}, ctx.Err()
	}
	m.state.look(ctx, true)
	p := &pass{m: m, demanded: demanded}
	unfinished := m.finish(ctx, &p.report)
	if err := m.state.sound(); err != nil {
		return p.report, err
	}
	err := p.run(ctx)
	if nerr := p.note(ctx); err == nil {
		err = nerr
	}
	if err == nil {
		err = unfinished
	}
	p.report.Unsigned = m.state.unsigned()
	if err == nil {
		p.report.At = time.Now().UTC()
		m.announce(m.found.reconciled(p.report))
	}
	return p.report, err
}

// announce logs what a pass has found for the first time.
func (m *Mirror) announce(conflicts []Conflict, orphans []Version) {
	for _, c := range conflicts {
		m.log.Warn("key was replaced", "key", c.Version.String(), "vouched", c.Vouched, "primary", c.Primary, "secondary", c.Secondary)
	}
	if len(orphans) > 0 {
		m.log.Warn("primary no longer holds keys that the mirror has", "count", len(orphans), "first", orphans[0].String())
	}
}

// reconcileByItself is the keeper's pass. It asks for another one, later each time, if something could be done better then.
func (m *Mirror) reconcileByItself(ctx context.Context) {
	if m.cfg.Mode != None {
		defer m.keeper.want(m.repair, time.Now().Add(m.cfg.ReconcileEvery))
	}
	if m.up.down() != nil {
		return // its recovery asks for a pass
	}
	r, err := m.reconcile(ctx, false)
	if ctx.Err() != nil {
		return
	}
	if len(r.Copied) > 0 || len(r.Finished) > 0 {
		m.log.Info("mirror repaired", "copied", len(r.Copied), "destroyed", len(r.Finished))
	}
	left := len(r.Unmirrored) > 0 || r.Unsigned != nil || len(m.state.current().unfinished()) > 0 && m.cfg.Mode != None
	tries := m.found.pass(err == nil && !left)
	switch {
	case tries == 0 || m.up.down() != nil: // nothing to do, or not before the primary is back
	case err != nil:
		m.keeper.want(m.repair, time.Now().Add(backoff(tries, maxProbeInterval)))
	default:
		m.keeper.want(m.repair, time.Now().Add(backoff(tries, maxRepairInterval)))
	}
}
