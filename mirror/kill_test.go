package mirror

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// kills is few in the ordinary tests; ci/faults asks for many.
var kills = flag.Int("kills", 4, "how many processes TestMirrorsAreKilled kills")

const (
	victimVariable    = "MIRROR_TEST_WRITE_UNTIL_KILLED_TO"
	victimPinVariable = "MIRROR_TEST_MANIFEST_PIN"
)

// openKilled opens the mirror in dir, over the keystore dir/primary in the place of a token, and dir/keystore.
func openKilled(ctx context.Context, dir, pin string) (*Mirror, error) {
	primary, err := softfile.Open(ctx, softfile.Config{
		Dir:        filepath.Join(dir, "primary"),
		Passphrase: func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte("open sesame")), nil },
	})
	if err != nil {
		return nil, err
	}
	return overKeystore(ctx, primary, dir, pin, "own")
}

// overKeystore returns the mirror in dir over the given primary, of a process whose own directory is dir/own.
func overKeystore(ctx context.Context, primary provider.Provider, dir, pin, own string) (*Mirror, error) {
	secondary, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(dir, "keystore")})
	if err != nil {
		return nil, errors.Join(err, primary.Close())
	}
	return New(primary, secondary, Config{ManifestDir: filepath.Join(dir, "mirror"), Pin: pin, StateDir: filepath.Join(dir, own)})
}

// writeUntilKilled makes, rotates and destroys keys, some of which the other victim changes too. It notes what it is going
// to destroy and what was acknowledged on stdout, one write a line.
func writeUntilKilled(dir, pin string) {
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // returns when the test ends, however it does
		os.Exit(1)
	}()
	m, err := openKilled(context.Background(), dir, pin)
	for err == nil {
		err = victim{m}.round(context.Background())
	}
	fmt.Printf("failed %q\n", err)
	os.Exit(1)
}

type victim struct{ m *Mirror }

// round changes one key. A store whose lock did not come in time on a busy machine is no failure.
func (v victim) round(ctx context.Context) error {
	err := v.change(ctx, fmt.Sprintf("shared-%d", rand.IntN(6)))
	if errors.Is(err, provider.ErrNotFound) || errors.Is(err, provider.ErrExists) || provider.IsOutage(err) {
		return nil // the other one was faster
	}
	return err
}

func (v victim) change(ctx context.Context, kid string) error {
	ref, err := v.m.RotateKey(ctx, kid, provider.Rotation{})
	if errors.Is(err, provider.ErrNotFound) {
		ref, err = v.m.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.Ed25519})
	}
	if err != nil {
		return err
	}
	fmt.Printf("made %s %s %t\n", ref.JWKKID(), ref.Fingerprint, ref.Mirroring.Mirrored)
	list, err := v.m.ListVersions(ctx, kid)
	rand.Shuffle(len(list.Keys), func(i, j int) { list.Keys[i], list.Keys[j] = list.Keys[j], list.Keys[i] })
	for i := 2; err == nil && i < len(list.Keys); i++ {
		name := list.Keys[i].JWKKID()
		fmt.Printf("destroying %s\n", name)
		if _, err = v.m.DestroyKey(ctx, kid, list.Keys[i].Version); err == nil {
			fmt.Printf("destroyed %s\n", name)
		}
	}
	return err
}

// killNotes is what victims wrote to their stdout.
type killNotes struct {
	made       map[Version]string // thumbprints
	mirrored   map[Version]bool
	destroying map[Version]bool
	destroyed  map[Version]bool
}

func readKillNotes(t *testing.T, path string) killNotes {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	n := killNotes{map[Version]string{}, map[Version]bool{}, map[Version]bool{}, map[Version]bool{}}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		require.NotEqual(t, "failed", fields[0], "a victim %s", line)
		kid, number, ok := provider.SplitJWKKID(fields[1])
		require.True(t, ok, line)
		v := Version{kid, number}
		switch fields[0] {
		case "made":
			require.Empty(t, n.made[v], "%s was given twice", v)
			n.made[v], n.mirrored[v] = fields[2], fields[3] == "true"
		case "destroying":
			n.destroying[v] = true
		case "destroyed":
			n.destroyed[v] = true
		}
	}
	return n
}

// Processes that write through a mirror are killed at random moments, one alone or two at once. What is left is looked at
// by a pinned reader while the primary is away, and by the next writer. Files are in memory, which outlives a process as a
// disk does: what is tested is the order of the steps, and not the disk.
func TestMirrorsAreKilled(t *testing.T) {
	s := newKillScene(t)
	for killed := 0; killed < *kills; {
		victims := make([]*exec.Cmd, 1+killed/2%2)
		for i := range victims {
			victims[i] = s.start()
		}
		for _, v := range victims {
			time.Sleep(rand.N(150 * time.Millisecond)) // any moment is as good as another: nothing waits for this
			require.NoError(t, v.Process.Kill())
			require.Error(t, v.Wait())
		}
		killed += len(victims)
		s.look()
	}
	n := readKillNotes(t, s.notes)
	require.NotEmpty(t, n.made, "the victims did something")
	t.Logf("%d kills: %d versions acknowledged, %d destroys begun of which %d acknowledged", *kills, len(n.made), len(n.destroying), len(n.destroyed))
}
