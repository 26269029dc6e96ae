//go:build cgo && unix

package hsm

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that makes an RSA key keeps the turn for many seconds, in which others connect all the same.
func TestAConnectionDoesNotWaitForTheEndOfAnotherProcessesTurn(t *testing.T) {
	for timeout, wait := range map[time.Duration]time.Duration{time.Second: 200 * time.Millisecond, time.Hour: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			module := filepath.Join(t.TempDir(), "module.so")
			require.NoError(t, os.WriteFile(module, nil, 0o600))
			release, err := lockModule(t.Context(), module)
			require.NoError(t, err)
			defer release()
			c := &conn{cfg: Config{Timeout: timeout}, lib: &library{path: module}, life: t.Context()}
			start := time.Now()
			c.startTurn()()
			require.Equal(t, wait, time.Since(start))
		})
	}
}
