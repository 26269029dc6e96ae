package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// Exit codes.
const (
	exitDone     = 0 // done
	exitRefused  = 1 // the store said no or did not answer
	exitUsage    = 2 // the command line is wrong; nothing was touched
	exitDegraded = 3 // done, but degraded: an answer from the mirror, a write that was not mirrored, a list with gaps
)

// streams are where a command reads and writes. Results go to out, everything else for a person goes to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is one run of the command.
type app struct {
	streams
	options options
	primary string // how messages name the system of record
	hasPIN  bool   // it can log in
	makes   bool   // the command makes a key, so that it may make a keystore too
	notes   notes
	started bool     // the command line was understood
	fresh   []string // keystores that were not there before
	reads   bool     // there is no token: the mirror alone is read, and that is no outage
}

// run does what args say and returns the exit code. It ends early, with an error, when ctx does.
func run(ctx context.Context, args []string, s streams) int {
	if len(args) == 1 && args[0] == probeArg {
		return serveProbe(ctx, s.in)
	}
	a := &app{streams: s, primary: "the primary store"}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return a.report()
	}
	a.dropEmpty()
	return a.fail(ctx, err)
}

// fail prints err, and the hint that goes with it, and returns the exit code.
func (a *app) fail(ctx context.Context, err error) int {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = errors.New("interrupted")
	}
	a.sayNotes()
	a.say("error", a.explain(err))
	if hint := hintFor(err); hint != "" {
		a.say("hint", hint)
	}
	if !a.started || errors.As(err, new(*usageError)) || errors.Is(err, provider.ErrInvalid) {
		return exitUsage
	}
	return exitRefused
}

// explain says what was refused, and which store an outage is one of. One of a file names the file, which is no part of the token.
func (a *app) explain(err error) string {
	text := once(err.Error())
	switch {
	case refusedPIN(err) != nil:
		return "the PIN was refused: " + text
	case !provider.IsOutage(err), !a.options.hasPrimary(), errors.As(err, new(*errModule)), errors.As(err, new(*fs.PathError)):
		return text
	}
	return a.primary + " is unavailable: " + a.outage(text)
}

// outage is cause without the name of the primary, which stands before it.
func (a *app) outage(text string) string { return strings.TrimPrefix(cause(text), a.primary+": ") }

// once leaves out what an error says again of what it is.
func once(text string) string {
	for _, sentinel := range []error{provider.ErrAuth, provider.ErrInvalid, provider.ErrUnavailable} {
		what := sentinel.Error() + ": "
		if head, tail, found := strings.Cut(text, what); found {
			text = head + what + strings.ReplaceAll(tail, what, "")
		}
	}
	return text
}

// refusedPIN returns the answer of a token that refused a PIN; nil if err is none.
func refusedPIN(err error) *hsm.Error {
	if e, ok := errors.AsType[*hsm.Error](err); ok && errors.Is(err, provider.ErrAuth) {
		return e
	}
	return nil
}

// cause cuts off what is said already where the text of an outage is shown.
func cause(text string) string {
	for _, known := range []string{"primary: ", provider.ErrUnavailable.Error() + ": "} {
		text = strings.TrimPrefix(text, known)
	}
	return text
}

func newRoot(a *app) *cobra.Command {
	root := group(&cobra.Command{
		Use:   "hsmmirror",
		Short: "Keys in a PKCS#11 token, and their public halves where the token is not",
		Long: `hsmmirror works with keys in a PKCS#11 token: an HSM, a TPM, a YubiHSM,
SoftHSM2. With a keystore beside the token it keeps the public halves there
too, and answers from them while the token is away.

The store it works with is
  a token     --module PATH --token LABEL (or --serial, --slot, --uri pkcs11:…)
  a keystore  --store DIR
  a mirror    both: the token, with its public halves in the keystore
Each flag of the store can be set by an environment variable or in a
configuration file instead; see hsmmirror help config.

A key is named KID, for its latest version (to sign: the active one), or
KID.VERSION. Where a kid itself ends in a dot and a number, a.1 is version 1
of the key a if there is a key a, and else the key a.1.

Exit codes: 0 done; 1 the store said no or did not answer; 2 the command line
is wrong and nothing was touched; 3 done but degraded: an answer from the
mirror, a write that was not mirrored, or a list with gaps. stderr says which.`,
		Example: `  export HSMMIRROR_MODULE=/usr/lib/softhsm/libsofthsm2.so HSMMIRROR_TOKEN=demo
  export HSMMIRROR_PIN_SOURCE=file:/etc/hsmmirror/pin HSMMIRROR_STORE=/var/lib/hsmmirror
  hsmmirror key create --kid payments --alg ECDSA_P256_SHA256
  hsmmirror sign payments --format jwt --claims claims.json
  hsmmirror jwks`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			err := cmp.Or(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups(), a.options.fill(cmd.Root().PersistentFlags()), a.options.checkFormat(cmd))
			a.started = err == nil
			return err
		},
	})
	root.SetFlagErrorFunc(flagError)
	root.Version = readVersion().Version // gives it --version too
	root.Flags().SortFlags = false
	a.options.register(root)
	jwk, sign, verify := newJWK(a), newSign(a), newVerify(a)
	csr := newCSR(a)
	a.namesKeys(true, jwk, sign, verify, csr)
	root.AddCommand(newInit(a), newToken(a), newKey(a), csr, newCert(a), newStore(a), jwk, newJWKS(a), newMirror(a), sign, verify, newRandom(a), newConfig(a), newDemo(a), newMan(a), newVersion(a))
	root.AddCommand(newTopics()...)
	strictHelp(root)
	a.completeTokens(root)
	return root
}

// group makes a command that only holds others: alone it prints its help, and it refuses a name that it does not hold.
func group(cmd *cobra.Command, sub ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := "see " + cmd.CommandPath() + " --help"
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			hint = "did you mean " + cmd.CommandPath() + " " + strings.Join(like, " or ") + "? " + hint
		}
		return usagef(hint, "%s: unknown command %s", cmd.CommandPath(), printable(args[0]))
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(sub...)
	return cmd
}
