package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// Mirror is a store made of two. It satisfies every optional interface of package provider; what the primary can't do
// answers [provider.ErrUnsupported]. New makes one; the zero value is of no use.
type Mirror struct {
	cfg     Config
	log     *slog.Logger
	primary provider.Provider
	copies  *copies
	state   *state

	up     *breaker // of the primary
	kids   kidLocks
	stamps stamps
	found  findings
	served atomic.Pointer[served]
	united atomic.Pointer[united]
	caps   atomic.Pointer[provider.Capabilities] // as the primary last told them

	deputySignatures atomic.Int64 // made by the secondary
	deputySince      atomic.Int64 // beginning of the outage in which it last did, in Unix nanoseconds

	keeper         *keeper
	probe          *task // asks the primary whether it is back
	probeSecondary *task
	repair         *task // reconciles
	keepSeen       *task // writes which manifest was seen
	reconciling    chan struct{}

	stop    context.CancelFunc // ends the keeper
	used    atomic.Bool
	closed  atomic.Bool
	copying gate // entered for the mirror's half of a write, which Close waits for
	once    sync.Once
	end     error
}

// Format prints no more than the name of the type, whatever the verb: a Mirror changes while it is printed.
func (m *Mirror) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "mirror.Mirror") }

// New joins primary and secondary, which the Mirror owns from then on and closes in Close, also if New fails. New asks
// neither store anything: a missing token shows in the first call that needs it. [provider.ErrInvalid] for one store instead of two, a
// Config that breaks a rule, or a directory that others can write; [provider.ErrUnavailable] for one that can't be read. A damaged manifest
// is no error here: the primary answers all the same, and nothing is served from the secondary or destroyed ([Status].State).
func New(primary, secondary provider.Provider, cfg Config) (*Mirror, error) {
	return newMirror(primary, secondary, cfg, nil)
}

func newMirror(primary, secondary provider.Provider, cfg Config, hook fileops.Hook) (*Mirror, error) {
	if primary == nil || secondary == nil {
		return nil, errors.Join(provider.Invalidf("mirror of one store: want a primary and a secondary"), closeAll(primary, secondary))
	}
	if reflect.ValueOf(primary).Comparable() && primary == secondary {
		return nil, errors.Join(provider.Invalidf("mirror of a store in itself: want a secondary that is another store"), primary.Close())
	}
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, errors.Join(err, closeAll(primary, secondary))
	}
	m := &Mirror{cfg: cfg, log: cfg.Logger, primary: primary, keeper: newKeeper(), reconciling: make(chan struct{}, 1)}
	m.repair = m.keeper.add(m.reconcileByItself)
	m.keepSeen = m.keeper.add(m.rememberSeen)
	m.probe = m.keeper.add(m.probePrimary)
	m.probeSecondary = m.keeper.add(func(ctx context.Context) { m.copies.probe(ctx) })
	watched := m.log
	if _, reader := primary.(absent); reader {
		watched = slog.New(slog.DiscardHandler) // what was never there is no outage
	}
	m.up = &breaker{store: "primary", log: watched,
		probeAt: func(t time.Time) { m.keeper.want(m.probe, t) },
		onUp:    func() { m.keeper.want(m.repair, time.Now()) },
	}
	if err := m.openFiles(hook); err != nil {
		return nil, errors.Join(err, closeAll(primary, secondary))
	}
	m.copies = newCopies(secondary, cfg.SecondaryTimeout, &breaker{store: "secondary", log: m.log,
		probeAt: func(t time.Time) { m.keeper.want(m.probeSecondary, t) },
		onUp:    func() { m.keeper.want(m.repair, time.Now()) },
	})
	if cfg.Mode != None {
		m.keeper.want(m.repair, time.Now().Add(cfg.ReconcileEvery))
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go m.keeper.run(ctx)
	return m, nil
}

// openFiles opens the mirror's directory and the reader's own.
func (m *Mirror) openFiles(hook fileops.Hook) error {
	r, err := openReader(m.cfg.Pin, m.cfg.StateDir, func() { m.keeper.want(m.keepSeen, time.Now()) })
	if err != nil {
		return err
	}
	var n *notary
	if m.cfg.Mode != None && m.cfg.ManifestDir != "" {
		n = &notary{primary: m.primary, limit: m.cfg.PrimaryTimeout, lifetime: m.cfg.RefuseAfter, up: m.up}
	}
	if m.state, err = openState(m.cfg.ManifestDir, hook, r, n); err != nil {
		return errors.Join(err, r.close())
	}
	if err := m.state.sound(); err != nil {
		m.log.Warn("the mirror can't be trusted", "cause", err)
	}
	return nil
}

// rememberSeen brings the highest generation seen into the reader's own directory.
func (m *Mirror) rememberSeen(ctx context.Context) {
	if err := m.state.reader.keep(ctx); err != nil && ctx.Err() == nil {
		m.log.Warn("generation of the manifest not written", "cause", err)
	}
}

// Close ends the use of the Mirror and closes both stores. It waits for the mirror's half of writes that the primary has
// made, no longer than the time limits of both stores.
func (m *Mirror) Close() error {
	m.once.Do(func() {
		m.closed.Store(true)
		m.stop()
		<-m.keeper.ended
		m.copying.shut()
		ctx, cancel := context.WithTimeout(context.Background(), m.cfg.SecondaryTimeout)
		defer cancel()
		m.rememberSeen(ctx)
		m.end = errors.Join(closeAll(m.primary, m.copies.store), m.state.close(), m.state.reader.close())
	})
	return m.end
}

func closeAll(stores ...provider.Provider) error {
	var errs []error
	for _, s := range stores {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// ready returns the error that a method starts with, if there is one: of the context, of Close, of its arguments.
func (m *Mirror) ready(ctx context.Context, args ...error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.closed.Load() {
		return provider.ErrClosed
	}
	for _, err := range args {
		if err != nil {
			return err
		}
	}
	// What an earlier process left undone is finished with the first use, since New asks the stores nothing.
	if !m.used.Load() && m.used.CompareAndSwap(false, true) && len(m.state.current().unfinished()) > 0 {
		m.keeper.want(m.repair, time.Now())
	}
	return nil
}
