package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

func newTokenDoctor(a *app) *cobra.Command {
	var need []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether a service can work with this token, and say what to do",
		Long: `Check whether a service can work with this token, this keystore and this
configuration: load the module, log in once, make session keys, sign, verify,
decrypt, draw random bytes, measure, and look at the keys, the keystore, clocks
and permissions. Each check is one line: ok, a warning, or a failure with what
to do. Nothing is left on the token, and a module that hangs is given up after
--timeout.

Exit codes: 0 all is well; 3 there are warnings; 1 there are failures.`,
		Example: `  hsmmirror token doctor --token demo --pin-source file:/etc/hsmmirror/pin --store /var/lib/hsmmirror
  hsmmirror token doctor --need ECDSA_P256_SHA256,RSA_PSS_SHA256 -o json`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			algs, err := parseAlgs(need)
			if err != nil {
				return err
			}
			d := &doctor{app: a, need: algs}
			d.examine(cmd.Context())
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return d.conclude()
		},
	}
	cmd.Flags().StringSliceVar(&need, "need", nil, "algorithms that the token has to give, such as ECDSA_P256_SHA256")
	complete(cmd, "need", algNames()...)
	return cmd
}

func parseAlgs(names []string) ([]provider.KeyAlg, error) {
	var algs []provider.KeyAlg
	for _, name := range names {
		alg, err := provider.ParseKeyAlg(name)
		if err != nil {
			return nil, err
		}
		algs = append(algs, alg)
	}
	return algs, nil
}

func algNames() []string {
	names := make([]string, 0, len(provider.Algs()))
	for _, alg := range provider.Algs() {
		names = append(names, string(alg))
	}
	return names
}

// The results of a check.
const (
	checkOK      = "ok"
	checkWarning = "warning"
	checkFailure = "failure"
)

// checkJSON is one check. docs/json.md describes the members.
type checkJSON struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Text   string `json:"text"`
	Advice string `json:"advice"` // empty if there is nothing to do
}

// doctor is one examination.
type doctor struct {
	*app
	need   []provider.KeyAlg
	checks []checkJSON
	unsaid error // why a check could not be printed
}

func (d *doctor) ok(check, format string, args ...any) {
	d.add(checkJSON{check, checkOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, advice, format string, args ...any) {
	d.add(checkJSON{check, checkWarning, fmt.Sprintf(format, args...), advice})
}

func (d *doctor) failed(check, advice, format string, args ...any) {
	d.add(checkJSON{check, checkFailure, fmt.Sprintf(format, args...), advice})
}

// add notes a check, and prints it at once in a table: some take long.
func (d *doctor) add(c checkJSON) {
	c.Text = strings.ReplaceAll(c.Text, "\n", "; ")
	d.checks = append(d.checks, c)
	if d.options.json() {
		return
	}
	text := c.Text
	if c.Advice != "" {
		text += ": " + c.Advice
	}
	t := newTeller(d.out)
	colour := map[string]string{checkOK: green, checkWarning: bold, checkFailure: red}[c.Status]
	_, err := fmt.Fprintf(d.out, "%s  %s  %s\n", t.paint(colour, runewidth.FillRight(c.Status, 7)), runewidth.FillRight(c.Check, 17), printable(text))
	d.unsaid = cmp.Or(d.unsaid, err)
}

// conclude prints what has not been printed, and returns the verdict.
func (d *doctor) conclude() error {
	if d.options.json() {
		if err := d.printJSON(list(d.checks)); err != nil {
			return err
		}
	}
	if d.unsaid != nil {
		return d.unsaid
	}
	count := func(status string) int {
		n := 0
		for _, c := range d.checks {
			if c.Status == status {
				n++
			}
		}
		return n
	}
	if n := count(checkFailure); n > 0 {
		return fmt.Errorf("%d of %d checks failed", n, len(d.checks))
	}
	if n := count(checkWarning); n > 0 {
		d.notes.degrade("%d of %d checks have a warning", n, len(d.checks))
	}
	return nil
}

// examine goes from what everything rests on to what rests on it, and leaves out what can't be checked any more.
func (d *doctor) examine(ctx context.Context) {
	if s, ok := d.token(ctx); ok {
		d.pinState(s)
		d.capabilities(s)
		if seen, ok := d.try(ctx, s); ok {
			d.keys(seen)
		}
		d.tokenClock(s)
	}
	if ctx.Err() == nil && d.options.store != "" {
		d.keystore(ctx)
	}
}

// token looks at the module and finds the token.
func (d *doctor) token(ctx context.Context) (seenSlot, bool) {
	path, initArgs, err := d.options.modulePath()
	if err != nil {
		d.failed("module", "mend the command line", "%v", err)
		return seenSlot{}, false
	}
	if path != "" && !d.module(ctx, path, initArgs) {
		return seenSlot{}, false
	}
	s, err := d.one(ctx)
	d.notes = notes{} // what could not be looked at on the way
	if err != nil {
		d.failed("token", cmp.Or(hintFor(err), "hsmmirror token list shows the tokens that are there"), "%s", cause(err.Error()))
		return s, false
	}
	if path == "" {
		d.moduleFile(s.module.Path)
		d.library(s.module)
	}
	t := s.slot.Token
	if !t.Initialized {
		d.failed("token", "initialize it with its maker's tool or pkcs11-tool --init-token", "the token in slot %d is not initialized", s.slot.ID)
		return s, false
	}
	d.ok("token", "%q, serial %q, %s %s, in slot %d", t.Label, t.Serial, t.Manufacturer, t.Model, s.slot.ID)
	for _, flag := range []string{"ERROR_STATE", "WRITE_PROTECTED"} {
		if slices.Contains(t.Flags, flag) {
			d.failed("token", "no key can be made on it, and perhaps none used", "the token is %s", flagWords[flag])
		}
	}
	return s, true
}

// module checks the file of a module and loads it.
func (d *doctor) module(ctx context.Context, path, initArgs string) bool {
	m := d.look(ctx, modpathOf(path), initArgs)
	if m.err == nil {
		d.moduleFile(path)
		d.library(m.info)
		return true
	}
	var module *errModule
	switch {
	case errors.As(m.err, &module) && module.hung:
		d.failed("library", "ask its maker; look whether its daemon, network or device answers; a service on it would stop here", "%v", m.err)
	case errors.As(m.err, &module):
		d.failed("library", "look for another version of the module: a service on it would crash", "%v", m.err)
	case errors.Is(m.err, provider.ErrInvalid):
		d.failed("module", "name the PKCS#11 library of the token with --module", "%v", m.err)
	default:
		d.failed("library", "look whether the module's own configuration, daemon and permissions are right", "%v", m.err)
	}
	return false
}

func (d *doctor) library(m hsm.ModuleInfo) {
	d.ok("library", "%s, %s, version %s, PKCS#11 %s", m.Description, m.Manufacturer, m.Version, m.Cryptoki)
}
