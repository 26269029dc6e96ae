package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// lockFile excludes every other process that changes the state.
func (s *state) lockFile(ctx context.Context) (unlock func(), err error) {
	if s.dir == nil {
		return func() {}, nil
	}
	unlock, err = s.dir.Lock(ctx, "state.lock")
	if err != nil {
		return nil, unavailable(ctx, "lock of the state", err)
	}
	return unlock, nil
}

// destroying returns once no other process that shares the state is in the middle of a destroy. So an intent that is seen
// before unlock is called has no living owner but this Mirror.
func (s *state) destroying(ctx context.Context) (unlock func(), err error) {
	if s.dir == nil {
		return func() {}, nil
	}
	unlock, err = s.dir.Lock(ctx, "destroy.lock")
	if err != nil {
		return nil, unavailable(ctx, "lock of the state", err)
	}
	s.look(ctx, true)
	if err := s.sound(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// unavailable returns the context's error if that is what err is, else err as [provider.ErrUnavailable].
func unavailable(ctx context.Context, what string, err error) error {
	if cerr := ctx.Err(); cerr != nil && errors.Is(err, cerr) {
		return cerr
	}
	return fmt.Errorf("%w: %s: %w", provider.ErrUnavailable, what, err)
}
