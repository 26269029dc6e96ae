package mirror

import (
	"os"
	"testing"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

// The tokens of the tests: one that most share, and one that is written to by processes that are killed.
const (
	tokenLabel  = "mirror"
	killedLabel = "killed"
)

// TestMain runs the test binary as another process that writes through a mirror, when it is told so.
func TestMain(m *testing.M) {
	if to := os.Getenv(victimVariable); to != "" {
		writeUntilKilled(to)
	}
	os.Exit(softhsmtest.Main(m, tokenLabel, killedLabel))
}
