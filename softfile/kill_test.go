//go:build unix

package softfile

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
)

// kills is few in the ordinary tests; ci/kill asks for many.
var kills = flag.Int("kills", 20, "how many writers TestWritersAreKilled kills")

const victimVariable = "SOFTFILE_TEST_WRITE_UNTIL_KILLED_TO"

// writeUntilKilled makes, rotates and destroys keys, some of which the other victim changes too. It notes what it is going
// to destroy and what was acknowledged on stdout, one write a line.
func writeUntilKilled(dir string) {
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // returns when the test ends, however it does
		os.Exit(1)
	}()
	s, err := open(context.Background(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, nil, quickly)
	for err == nil {
		err = victim{s}.round(context.Background())
	}
	fmt.Printf("failed %q\n", err)
	os.Exit(1)
}

type victim struct{ store *Store }

func (v victim) round(ctx context.Context) error {
	kid := fmt.Sprintf("shared-%d", rand.IntN(8))
	ref, err := v.store.RotateKey(ctx, kid, provider.Rotation{})
	if errors.Is(err, provider.ErrNotFound) {
		ref, err = v.store.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.Ed25519})
	}
	if errors.Is(err, provider.ErrExists) {
		return nil // the other one made it first
	}
	if err != nil {
		return err
	}
	fmt.Printf("made %s %s\n", ref.JWKKID(), ref.Fingerprint)
	list, err := v.store.ListVersions(ctx, kid)
	rand.Shuffle(len(list.Keys), func(i, j int) { list.Keys[i], list.Keys[j] = list.Keys[j], list.Keys[i] })
	for i := 3; err == nil && i < len(list.Keys); i++ {
		err = v.destroy(ctx, list.Keys[i])
	}
	return err
}

func (v victim) destroy(ctx context.Context, ref provider.KeyRef) error {
	fmt.Printf("destroying %s\n", ref.JWKKID())
	_, err := v.store.DestroyKey(ctx, ref.KID, ref.Version)
	if errors.Is(err, provider.ErrNotFound) {
		return nil // the other one destroyed it first
	}
	if err != nil {
		return err
	}
	fmt.Printf("destroyed %s\n", ref.JWKKID())
	return nil
}

// notes is what victims wrote to their stdout.
type notes struct {
	made                  map[string]string // fingerprints by name
	destroying, destroyed map[string]bool
}

func readNotes(t *testing.T, path string) notes {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	n := notes{map[string]string{}, map[string]bool{}, map[string]bool{}}
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			break // a victim is writing it
		}
		fields := strings.Fields(line)
		switch fields[0] {
		case "made":
			require.Empty(t, n.made[fields[1]], "%s was given twice", fields[1])
			n.made[fields[1]] = fields[2]
		case "destroying":
			n.destroying[fields[1]] = true
		case "destroyed":
			n.destroyed[fields[1]] = true
		default:
			t.Fatal("a victim ", line)
		}
	}
	return n
}

// lookAfterKill checks the store in dir while a writer may be at work: every key that was acknowledged is there unless its destroy
// began, none whose destroy was acknowledged is, no file is damaged, and the halves of each key fit. seen holds the
// fingerprints of all versions that were ever there.
func lookAfterKill(t *testing.T, dir, path string, seen map[string]string) {
	t.Helper()
	before := readNotes(t, path)
	s, err := open(t.Context(), Config{Dir: dir, Passphrase: passphrase("open sesame")}, nil, quickly)
	require.NoError(t, err)
	defer s.Close()
	keys, err := s.ListKeys(t.Context())
	require.NoError(t, err)
	require.Empty(t, keys.Problems)
	live, unusable := map[string]bool{}, map[string]error{}
	for _, key := range keys.Keys {
		list, err := s.ListVersions(t.Context(), key.KID)
		require.NoError(t, err)
		require.Empty(t, list.Problems)
		for _, ref := range list.Keys {
			name := ref.JWKKID()
			live[name] = true
			if known, ok := seen[name]; ok {
				require.Equal(t, known, ref.Fingerprint, "%s was given twice", name)
			}
			seen[name] = ref.Fingerprint
			if err := tryKey(t.Context(), s, ref); err != nil {
				unusable[name] = err
			}
		}
	}
	after := readNotes(t, path)
	for name, fingerprint := range before.made {
		require.True(t, live[name] || after.destroying[name], "%s was acknowledged and is lost", name)
		if known, ok := seen[name]; ok {
			require.Equal(t, fingerprint, known, "%s is another key than was acknowledged", name)
		}
	}
	for name := range before.destroyed {
		require.False(t, live[name], "%s is back", name)
	}
	for name, err := range unusable {
		require.ErrorIs(t, err, provider.ErrNotFound, name)
		require.True(t, after.destroying[name], "%s is gone", name)
	}
}

// tryKey signs with a version and verifies with its public JWK.
func tryKey(ctx context.Context, s *Store, ref provider.KeyRef) error {
	public, err := s.PublicJWK(ctx, ref.KID, ref.Version)
	if err != nil {
		return err
	}
	signer, err := s.Signer(ctx, ref.KID, ref.Version)
	if err != nil {
		return err
	}
	signature, err := signer.SignContext(ctx, []byte("m"), nil)
	if err != nil {
		return err
	}
	return public.Verify([]byte("m"), signature)
}

// The original's defect F04: of 150 stores whose writer was killed, 64 had a record damaged that had been good.
func TestWritersAreKilled(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, opened(t, dir).Close()) // sets the passphrase
	path := filepath.Join(t.TempDir(), "notes")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer out.Close()
	var victims [2]*exec.Cmd
	kill := func(i int) {
		require.NoError(t, victims[i].Process.Kill())
		require.Error(t, victims[i].Wait())
	}
	for i := range victims {
		victims[i] = startVictim(t, dir, out)
		defer kill(i)
	}
	seen := map[string]string{}
	for range *kills {
		time.Sleep(rand.N(80 * time.Millisecond)) // any moment is as good as another: nothing waits for this
		i := rand.IntN(len(victims))
		kill(i)
		lookAfterKill(t, dir, path, seen)
		victims[i] = startVictim(t, dir, out)
	}
	require.Eventually(t, func() bool { return len(readNotes(t, path).made) > 0 }, 5*time.Minute, time.Millisecond, "the victims did something")
	n := readNotes(t, path)
	t.Logf("%d kills: %d keys acknowledged, %d destroys of which %d acknowledged; nothing damaged, lost, given twice or unfit",
		*kills, len(n.made), len(n.destroying), len(n.destroyed))
}

func startVictim(t *testing.T, dir string, out *os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	_, err := cmd.StdinPipe() // closed by Wait, and with this process
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd
}
