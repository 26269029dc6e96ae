package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ask puts a read to the primary, with its time limit. While the primary is known to be down it returns the outage's error
// at once.
func ask[T any](ctx context.Context, m *Mirror, read func(context.Context) (T, error)) (T, error) {
	if err := m.up.down(); err != nil {
		var none T
		return none, err
	}
	return askNow(ctx, m, read)
}

// askNow is ask that also tries a primary which is known to be down.
func askNow[T any](ctx context.Context, m *Mirror, read func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, m.cfg.PrimaryTimeout)
	defer cancel()
	start := time.Now()
	v, err := read(limited)
	return v, m.heard(ctx, start, err)
}

// heard tells the breaker what a call of the primary, begun at start for the caller of ctx, has shown, and returns the
// error that the caller gets.
func (m *Mirror) heard(ctx context.Context, start time.Time, err error) error {
	if err == nil {
		m.up.answered(start)
		return nil
	}
	if outage := outageOf(ctx, "primary", start, err); outage != nil {
		m.up.failed(start, outage, false)
		return outage
	}
	if cerr := ctx.Err(); cerr != nil && unanswered(err) {
		if errors.Is(cerr, context.DeadlineExceeded) {
			m.up.suspect()
		}
		return cerr
	}
	if !errors.Is(err, provider.ErrClosed) {
		m.up.answered(start)
	}
	return err
}

// unanswered tells whether err says nothing of what the store holds.
func unanswered(err error) bool {
	return errors.Is(err, provider.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// errLimit is the cause of a context that ended by a limit of the mirror's own.
var errLimit = errors.New("time limit of the mirror")

// ended tells whether the caller's context has ended, and not only a limit of the mirror's own.
func ended(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errLimit)
}

// outageOf returns err, from a store that was called at start, as [provider.ErrUnavailable] if it is the store's failure
// to answer; nil if it is an answer, or no more than the end of the caller's context.
func outageOf(ctx context.Context, store string, start time.Time, err error) error {
	switch {
	case !unanswered(err) || ended(ctx):
		return nil
	case provider.IsOutage(err):
		return fmt.Errorf("%s: %w", store, err)
	}
	return fmt.Errorf("%s: %w: no answer within %v", store, provider.ErrUnavailable, time.Since(start).Round(time.Millisecond))
}

// probePrimary asks the primary whether it is there, for the breaker.
func (m *Mirror) probePrimary(ctx context.Context) {
	start := time.Now()
	err := check(ctx, m.primary, m.cfg.PrimaryTimeout)
	if outage := outageOf(ctx, "primary", start, err); outage != nil {
		m.up.failed(start, outage, true)
	} else if ctx.Err() == nil && !errors.Is(err, provider.ErrClosed) {
		m.up.passed(start)
	}
}

// check asks a store how it is. A store that can't tell is asked for its keys.
func check(ctx context.Context, p provider.Provider, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if c, ok := p.(provider.Checking); ok {
		if err := c.Health(ctx); !errors.Is(err, provider.ErrUnsupported) {
			return err
		}
	}
	_, err := p.ListKeys(ctx)
	return err
}
