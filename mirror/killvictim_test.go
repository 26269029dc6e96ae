package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	crand "crypto/rand"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/secretsource"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// victimVariable holds a target, as JSON, in the environment of a process that is going to be killed.
const victimVariable = "MIRROR_TEST_WRITE_UNTIL_KILLED_TO"

// target is the mirror that victims write to.
type target struct {
	Dir     string
	Pin     string // of its manifest
	PINFile string // of the token that is its primary; empty: a keystore is
}

// open opens the mirror over its primary and the keystore Dir/keystore, for a process whose own directory is Dir/own.
func (g target) open(ctx context.Context, own string) (*Mirror, error) {
	primary, err := g.openPrimary(ctx)
	if err != nil {
		return nil, err
	}
	return g.over(ctx, primary, own)
}

func (g target) openPrimary(ctx context.Context) (provider.Provider, error) {
	if g.PINFile != "" {
		return hsm.Open(ctx, g.token())
	}
	return softfile.Open(ctx, softfile.Config{
		Dir:        filepath.Join(g.Dir, "primary"),
		Passphrase: func(context.Context) (provider.Secret, error) { return provider.NewSecret([]byte("open sesame")), nil },
	})
}

// patience is the time limit of both stores: that the machine is busy with other tests, of which some write to tokens too, is no outage.
const patience = time.Minute

// token selects the token; its module is empty, which is refused, where SoftHSM2 is not installed.
func (g target) token() hsm.Config {
	module, _ := softhsm.Find()
	return hsm.Config{Module: module, Label: killedLabel, PIN: secretsource.File(g.PINFile), Timeout: patience}
}

// over is open with a primary of the caller's.
func (g target) over(ctx context.Context, primary provider.Provider, own string) (*Mirror, error) {
	secondary, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(g.Dir, "keystore")})
	if err != nil {
		return nil, errors.Join(err, primary.Close())
	}
	return New(primary, secondary, Config{
		ManifestDir: filepath.Join(g.Dir, "mirror"), Pin: g.Pin, StateDir: filepath.Join(g.Dir, own), PrimaryTimeout: patience, SecondaryTimeout: patience,
	})
}

// writeUntilKilled makes, rotates, relabels and destroys keys, some of which the other victim changes too. It notes what it
// is going to destroy and what was acknowledged on stdout, one write a line.
func writeUntilKilled(variable string) {
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // returns when the test ends, however it does
		os.Exit(1)
	}()
	var g target
	var v victim
	err := json.Unmarshal([]byte(variable), &g)
	if err == nil {
		v.m, err = g.open(context.Background(), "own")
	}
	for err == nil {
		err = v.round(context.Background())
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
	tags := map[string]string{"made": crand.Text()}
	ref, err := v.m.RotateKey(ctx, kid, provider.Rotation{Tags: tags})
	if errors.Is(err, provider.ErrNotFound) {
		ref, err = v.m.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.Ed25519, Tags: tags})
	}
	if err != nil {
		return err
	}
	fmt.Printf("made %s %s %s %t\n", ref.JWKKID(), ref.Fingerprint, tags["made"], ref.Mirroring.Mirrored)
	if err := v.relabel(ctx, ref); err != nil {
		return err
	}
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

// relabel gives the objects of every third version another label, where the primary has such.
func (v victim) relabel(ctx context.Context, ref provider.KeyRef) error {
	if rand.IntN(3) > 0 {
		return nil
	}
	label := crand.Text()
	_, err := v.m.Relabel(ctx, ref.KID, ref.Version, label)
	if errors.Is(err, provider.ErrUnsupported) {
		return nil
	}
	if err == nil {
		fmt.Printf("labelled %s %s\n", ref.JWKKID(), label)
	}
	return err
}
