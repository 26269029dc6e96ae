//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestALostConnectionIsToldFromOneThatNeverWas(t *testing.T) {
	cause := errors.New("unplugged")
	outage := fmt.Errorf("%w: unplugged", provider.ErrUnavailable)
	for _, tt := range []struct {
		name  string
		had   *member // that was up before
		state State
		cause error
		want  error
		text  string
	}{
		{"the token has not been seen yet", nil, StateDown, outage, provider.ErrUnavailable, "store unavailable: unplugged"},
		{"it is lost", &member{}, StateDown, cause, provider.ErrUnavailable, "connection lost at 2026-01-02T03:04:05Z: unplugged"},
		{"a call into it hangs", &member{}, StateWedged, cause, provider.ErrUnavailable, "connection lost at 2026-01-02T03:04:05Z: unplugged"},
		{"it is tried again", &member{}, StateRecovering, cause, provider.ErrUnavailable, "connection lost at 2026-01-02T03:04:05Z: unplugged"},
		{"its PIN is refused", &member{}, StateLockedOut, provider.ErrAuth, provider.ErrAuth, "authentication refused"},
		{"it is closed", &member{}, StateClosed, provider.ErrClosed, provider.ErrClosed, provider.ErrClosed.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &conn{member: tt.had, state: Status{tt.state, start.In(time.FixedZone("east", 3600)), tt.cause}}
			err := c.refusalLocked()
			require.ErrorIs(t, err, tt.want)
			require.ErrorIs(t, err, tt.cause)
			require.EqualError(t, err, tt.text)
			require.Equal(t, tt.want == provider.ErrUnavailable, errors.Is(err, provider.ErrUnavailable))
		})
	}
}
