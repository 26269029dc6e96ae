package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// demo is a key service as a program would run it: one mirror of a token and a keystore, open from beginning to end.
type demo struct {
	*teller
	dir      string
	hsm      *softhsm.HSM
	token    *hsm.Token      // the primary
	keystore *softfile.Store // the secondary
	mirror   *mirror.Mirror

	pin    string          // of the manifest, as verifiers are given it
	secret []byte          // private half of the key that was imported
	jwt    []byte          // signed while the token was there
	before provider.JWKSet // as it was when the token was taken away
}

func newDemo(a *app) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the loss of a token, from beginning to end, on a throwaway one",
		Long: `Make a throwaway SoftHSM2 token and a keystore in a temporary directory, create
keys, take the token away, and show what goes on without it. Every step checks
what it says. Nothing is left behind, also after Ctrl-C, unless --keep is given.

It needs SoftHSM2 (the package softhsm2 or softhsm), and nothing else: no flag
or environment variable of the store is looked at. SOFTHSM2_MODULE names the
module if it is in an unusual place.`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return playDemo(cmd.Context(), newTeller(a.out), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the token and the keystore behind, and say how to use them")
	return prints("a story for people", cmd)
}

// demoStep is one step of the story. It returns an error if something that it says does not hold.
type demoStep struct {
	title string
	play  func(*demo, context.Context) error
}

var demoSteps = []demoStep{
	{"A token, and a directory as its mirror", (*demo).introduce},
	{"Keys are made in the token", (*demo).createKeys},
	{"A JWT is signed in the token, and verified with the JWK Set alone", (*demo).signToken},
	{"A key is rotated", (*demo).rotate},
	{"The token is taken away", (*demo).takeAway},
	{"Verification goes on", (*demo).verifyWithout},
	{"Somebody changes the mirror", (*demo).intrude},
	{"The token is put back", (*demo).putBack},
	{"A key is destroyed", (*demo).destroy},
	{"What is on the disk of the mirror", (*demo).lookAtDisk},
}

// playDemo plays the story. Whatever happens, it removes what it made, unless the story came to its end and keep is set.
func playDemo(ctx context.Context, t *teller, keep bool) (err error) {
	start := time.Now()
	d := &demo{teller: t}
	done := false
	defer func() {
		err = errors.Join(err, d.end(done && keep))
		if done && err == nil {
			t.farewell(start, keep)
		}
	}()
	fmt.Fprintln(t.w, t.paint(bold, "hsmmirror demo")+": a key service, and the day on which its token goes away")
	if err := d.begin(ctx); err != nil {
		return err
	}
	for i, step := range demoSteps {
		t.step(step.title)
		if err := step.play(d, ctx); err != nil {
			if ctx.Err() != nil {
				t.line("interrupted: the token and the keystore are removed")
			} else {
				t.failed(err)
			}
			return fmt.Errorf("demo, step %d: %w", i+1, err)
		}
	}
	done = true
	return nil
}

func (t *teller) farewell(start time.Time, keep bool) {
	end := "Nothing was left behind."
	if keep {
		end = "The variables above lead to the token and the keystore."
	}
	fmt.Fprintf(t.w, "\n%s All %d steps held, in %s. %s\n", t.paint(green, "Done."), t.steps, brief(time.Since(start)), end)
}

// begin makes the token and the keystore and joins them, as a service does when it starts.
func (d *demo) begin(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "hsmmirror-demo-"); err != nil {
		return err
	}
	if d.hsm, err = softhsm.New(ctx, d.dir, "demo"); err != nil {
		return err
	}
	// The module looks for it when it is initialised, at the first call.
	if err := os.Setenv(softhsm.ConfEnv, d.hsm.Conf); err != nil {
		return err
	}
	token := d.hsm.Tokens[0]
	if d.token, err = hsm.New(hsm.Config{Module: d.hsm.Module, Label: token.Label, PIN: token.PINSource()}); err != nil {
		return err
	}
	if d.keystore, err = softfile.Open(ctx, softfile.Config{Dir: d.store()}); err != nil {
		return err
	}
	d.mirror, err = mirror.New(d.token, d.keystore, mirror.Config{ManifestDir: filepath.Join(d.store(), "mirror")})
	return err
}

// end closes and removes what begin made, as far as it came.
func (d *demo) end(keep bool) error {
	var errs []error
	switch {
	case d.mirror != nil:
		errs = append(errs, d.mirror.Close()) // closes the two others
	case d.token != nil:
		errs = append(errs, d.token.Close())
	}
	clear(d.secret)
	if keep {
		errs = append(errs, d.keep())
	} else if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// keep puts the token back and says how to use it.
func (d *demo) keep() error {
	if d.hsm.Removed() {
		if err := d.hsm.Restore(); err != nil {
			return err
		}
	}
	fmt.Fprintln(d.w)
	for _, assignment := range []string{
		d.hsm.Env(), envPrefix + "MODULE=" + d.hsm.Module, envPrefix + "TOKEN=demo", envPrefix + "PIN_SOURCE=file:" + d.hsm.Tokens[0].PINFile,
		envPrefix + "STORE=" + d.store(),
	} {
		d.line("export %s", assignment)
	}
	return nil
}

func (d *demo) store() string { return filepath.Join(d.dir, "store") }
