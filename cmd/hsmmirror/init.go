package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/mirror"
)

// initFlags are the flags of init.
type initFlags struct {
	out, softhsm string
	force        bool
}

func newInit(a *app) *cobra.Command {
	var flags initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Set up a token and its mirror, and write the configuration file",
		Long: `Find the token, say where its PIN comes from and where the keystore is, write
the configuration file with comments, have the token make the key that signs
the mirror's manifest, and print the pin for readers and the next commands.

What no flag says is asked on the terminal; without one init fails and says
which flag is wanted. With --softhsm DIR it makes a token for development by
SoftHSM2 in that directory first, with a random PIN in a file beside it.

A run that fails leaves no file behind. The key that signs the manifest stays
on the token once it is made, and the next run takes it.`,
		Example: `  hsmmirror init
  hsmmirror init --token demo --pin-source file:/etc/hsmmirror/pin --store /var/lib/hsmmirror --state-dir /var/lib/hsmmirror-own --out /etc/hsmmirror/config.yaml
  hsmmirror init --softhsm ~/hsmmirror-dev`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd.Context(), a) },
	}
	f := cmd.Flags()
	f.StringVar(&flags.out, "out", "", "configuration `FILE` to write; ~/.config/hsmmirror/config.yaml if left out")
	f.StringVar(&flags.softhsm, "softhsm", "", "make a token for development in `DIR`")
	f.BoolVar(&flags.force, "force", false, "write over a configuration file that is there")
	f.SortFlags = false
	return prints("for people", cmd)
}

// setup is what init finds out.
type setup struct {
	Module, Token, Serial, PINSource, Store, StateDir string
	environment                                       string // an assignment that other commands need too
}

func (f *initFlags) run(ctx context.Context, a *app) (err error) {
	if err := f.place(); err != nil {
		return err
	}
	if a.options.uri != "" {
		return usagef("name the token with --module and --token or --serial", "--uri: init wants a token and a keystore")
	}
	var made leftovers
	defer func() {
		if err != nil {
			err = errors.Join(err, made.remove())
		}
	}()
	var s setup
	if f.softhsm != "" {
		if err := f.makeToken(ctx, a, &s, &made); err != nil {
			return err
		}
	}
	if err := a.survey(ctx, &s); err != nil {
		return err
	}
	text, err := s.config()
	if err != nil {
		return err
	}
	made.expect(a.options.store)
	if a.options.stateDir != "" {
		made.expect(a.options.stateDir)
	}
	if err := f.draft(text, &made); err != nil {
		return err
	}
	pin, err := a.firstRun(ctx)
	if err != nil {
		return err
	}
	if err := os.Rename(f.out+draftSuffix, f.out); err != nil {
		return err
	}
	made = nil // all is done, also if nobody reads what is printed
	_, err = fmt.Fprint(a.out, s.farewell(f.out, pin))
	return err
}

// place says which file is written. It must not be there, and is looked for before anything is made.
func (f *initFlags) place() error {
	if f.out == "" {
		paths := configPaths()
		if len(paths) < 2 { // there is no place for the user's
			return usagef("", "no place for the configuration file: want --out")
		}
		f.out = paths[0]
	}
	switch _, err := os.Lstat(f.out); {
	case err == nil && !f.force:
		return usagef("--force writes over it; hsmmirror config show prints what counts now", "%s is there already", printable(f.out))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return usagef("name another file with --out", "%v", err)
	}
	return nil
}

// makeToken makes a token for development, and points the options at it.
func (f *initFlags) makeToken(ctx context.Context, a *app, s *setup, made *leftovers) error {
	made.expect(f.softhsm)
	if err := os.MkdirAll(f.softhsm, 0o700); err != nil {
		return usagef("", "%v", err)
	}
	h, err := softhsm.New(ctx, f.softhsm, "dev")
	if err != nil {
		return err
	}
	*made = append(*made, leftover{path: filepath.Dir(h.Conf)})
	o := &a.options
	o.module, o.token, o.serial, o.slot = h.Module, h.Tokens[0].Label, "", ""
	o.pinSource = "file:" + h.Tokens[0].PINFile
	if o.store == "" {
		if o.store, err = filepath.Abs(filepath.Join(f.softhsm, "store")); err != nil {
			return err
		}
	}
	s.environment = h.Env()
	return os.Setenv(softhsm.ConfEnv, h.Conf)
}

// survey finds the token and asks for what is not known.
func (a *app) survey(ctx context.Context, s *setup) error {
	if err := a.chooseToken(ctx, s); err != nil {
		return err
	}
	o := &a.options
	var err error
	if o.pinSource == "" {
		if o.pinSource, err = a.ask(ctx, "pin-source", "where does the PIN come from (file:PATH, env:NAME, fd:N, prompt or pinpad)?", ""); err != nil {
			return err
		}
	}
	if o.store == "" {
		if o.store, err = a.ask(ctx, "store", "which directory is the keystore?", "/var/lib/hsmmirror"); err != nil {
			return err
		}
	}
	if o.store, err = filepath.Abs(o.store); err != nil {
		return err
	}
	if o.stateDir != "" {
		if o.stateDir, err = filepath.Abs(o.stateDir); err != nil {
			return err
		}
	}
	s.PINSource, s.Store, s.StateDir = o.pinSource, o.store, o.stateDir
	return nil
}

// chooseToken finds the token that the options select, or asks which.
func (a *app) chooseToken(ctx context.Context, s *setup) error {
	slots, err := a.chosen(ctx)
	if err != nil {
		return err
	}
	slots = slices.DeleteFunc(slots, func(s seenSlot) bool {
		return !s.slot.Token.Initialized || slices.Contains(s.slot.Token.Flags, "WRITE_PROTECTED")
	})
	if len(slots) == 0 {
		return usagef("initialize one with its maker's tool, or hsmmirror init --softhsm DIR makes one for development", "there is no initialized token that can be written to")
	}
	slices.SortStableFunc(slots, func(a, b seenSlot) int { return strings.Compare(a.slot.Token.Label, b.slot.Token.Label) })
	n := 0
	if len(slots) > 1 {
		question := "which token?"
		for i, s := range slots {
			question += fmt.Sprintf("\n  %d  %s, serial %s, %s", i+1, strconv.Quote(s.slot.Token.Label), strconv.Quote(s.slot.Token.Serial), printable(s.module.Path))
		}
		answer, err := a.ask(ctx, "token", question+"\nnumber", "1")
		if err != nil {
			return err
		}
		if n, err = strconv.Atoi(answer); err != nil || n < 1 || n > len(slots) {
			return usagef("", "token %s: want a number from 1 to %d", printable(answer), len(slots))
		}
		n--
	}
	t := slots[n].slot.Token
	o := &a.options
	o.module, o.token, o.serial, o.slot = slots[n].module.Path, t.Label, t.Serial, ""
	s.Module, s.Token, s.Serial = o.module, o.token, o.serial
	return nil
}

// firstRun opens the mirror as every later command will, and returns the pin of its manifest.
func (a *app) firstRun(ctx context.Context) (pin string, err error) {
	a.makes = true
	err = a.withMirror(ctx, func(ctx context.Context, m *mirror.Mirror) error {
		if _, err := m.Reconcile(ctx); err != nil {
			return err
		}
		pin, err = m.ManifestPin(ctx)
		return err
	})
	return pin, err
}

func (s setup) farewell(path, pin string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wrote %s\n", printable(path))
	fmt.Fprintf(&b, "pin of the manifest, for readers: %s\n", pin)
	b.WriteString("next:\n")
	if s.environment != "" {
		fmt.Fprintf(&b, "  export %s\n", s.environment)
	}
	if paths := configPaths(); !slices.Contains(paths, path) {
		fmt.Fprintf(&b, "  export %sCONFIG=%s\n", envPrefix, path)
	}
	b.WriteString("  hsmmirror token doctor\n  hsmmirror key create --kid payments --alg ECDSA_P256_SHA256\n  hsmmirror jwks\n")
	return b.String()
}
