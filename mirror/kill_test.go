package mirror

import (
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// kills is few in the ordinary tests; ci/faults asks for many.
var kills = flag.Int("kills", 4, "how many processes are killed by each of the tests that kill mirrors")

// Processes that write through a mirror are killed at random moments, one alone or two at once. Readers read on all the while,
// with and without the primary. What is left is looked at by a pinned reader while the primary is away, and by the next writer.
// Files are in memory, which outlives a process as a disk does: what is tested is the order of the steps, and not the disk.
func TestMirrorsAreKilled(t *testing.T) {
	newKillScene(t, target{Dir: tempDir(t)}).killAll(*kills)
}

// The same with a token as the primary, which is looked at itself too: for keys that are back, and for halves of keys.
func TestMirrorsOfATokenAreKilled(t *testing.T) {
	newKillScene(t, target{Dir: tempDir(t), PINFile: softhsmtest.Token(t, killedLabel).PINFile}).killAll(*kills)
}

// life is how long a victim lives at most after its first write: long enough for some more.
func (s *killScene) life() time.Duration {
	if s.PINFile != "" {
		return 400 * time.Millisecond
	}
	return 150 * time.Millisecond
}

func (s *killScene) killAll(kills int) {
	s.t.Helper()
	for killed := 0; killed < kills; {
		stop := s.readOn()
		victims := make([]*exec.Cmd, 1+killed/2%2)
		for i := range victims {
			victims[i] = s.start()
		}
		for _, v := range victims {
			time.Sleep(rand.N(s.life())) // any moment is as good as another: nothing waits for this
			require.NoError(s.t, v.Process.Kill())
			require.Error(s.t, v.Wait())
		}
		killed += len(victims)
		stop()
		s.look()
	}
	s.tidied()
	s.look()
	n, err := readKillNotes(s.notes)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, n.made, "the victims did something")
	s.t.Logf("%d kills: %d versions acknowledged, %d destroys begun of which %d acknowledged; %d answers to readers meanwhile",
		kills, len(n.made), len(n.destroying), len(n.destroyed), s.answers.Load())
}

// killNotes is what victims wrote to their stdout.
type killNotes struct {
	made       map[Version]madeNote
	labelled   map[Version]string
	destroying map[Version]bool
	destroyed  map[Version]bool
}

type madeNote struct {
	thumbprint, tag string
	mirrored        bool
}

// readKillNotes reads all whole lines, while victims may be writing more.
func readKillNotes(path string) (killNotes, error) {
	n := killNotes{map[Version]madeNote{}, map[Version]string{}, map[Version]bool{}, map[Version]bool{}}
	data, err := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		if err != nil || !strings.HasSuffix(line, "\n") {
			break
		}
		err = n.read(strings.Fields(line))
	}
	return n, err
}

func (n killNotes) read(fields []string) error {
	kid, number, ok := provider.SplitJWKKID(fields[1])
	if !ok {
		return provider.Invalidf("a victim %s", strings.Join(fields, " "))
	}
	v := Version{kid, number}
	switch fields[0] {
	case "made":
		if n.made[v] != (madeNote{}) {
			return provider.Invalidf("%s was given twice", v)
		}
		mirrored, err := strconv.ParseBool(fields[4])
		n.made[v] = madeNote{fields[2], fields[3], mirrored}
		return err
	case "labelled":
		n.labelled[v] = fields[2]
	case "destroying":
		n.destroying[v] = true
	case "destroyed":
		n.destroyed[v] = true
	}
	return nil
}
