package mirror

import (
	"os"
	"testing"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

const tokenLabel = "mirror"

// TestMain runs the test binary as another process that writes through a mirror, when it is told so.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimVariable); dir != "" {
		writeUntilKilled(dir, os.Getenv(victimPinVariable))
	}
	os.Exit(softhsmtest.Main(m, tokenLabel))
}
