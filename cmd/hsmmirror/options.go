package main

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/mirror"
)

// options are the flags of every command: which store, and how to print.
type options struct {
	uri                                string
	module, token, serial, slot        string
	pinSource, store, passphraseSource string
	mode                               string
	failOpenReads, failOverSigning     bool
	timeout                            time.Duration
	manifestPin, stateDir              string
	output                             string
	config                             string

	origins map[string]string // where each value came from, by the flag's name; none for a default
}

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

const envPrefix = "HSMMIRROR_"

// rivals names for a flag the other flags that, given in a layer above, make its value meaningless.
var rivals = map[string][]string{
	"uri":    {"module", "token", "serial", "slot"},
	"module": {"uri"},
	"token":  {"uri", "serial", "slot"},
	"serial": {"uri", "token", "slot"},
	"slot":   {"uri", "token", "serial"},
}

func (o *options) register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&o.uri, "uri", "", "store: pkcs11:… (RFC 7512), softfile:… or mirrored:…")
	f.StringVar(&o.module, "module", "", "PKCS#11 library of the token, `PATH`")
	f.StringVar(&o.token, "token", "", "label of the token")
	f.StringVar(&o.serial, "serial", "", "serial number of the token")
	f.StringVar(&o.slot, "slot", "", "slot ID of the token; prefer the label or serial, slots move")
	f.StringVar(&o.pinSource, "pin-source", "", "where the PIN comes from: file:PATH, env:NAME, fd:N or prompt; pinpad: the token asks for it itself")
	f.StringVar(&o.store, "store", "", "directory of the software keystore, `DIR`")
	f.StringVar(&o.passphraseSource, "passphrase-source", "", "where the keystore's passphrase comes from, as for the PIN")
	f.StringVar(&o.mode, "mode", "public_only", "what is mirrored: public_only, full or none")
	f.BoolVar(&o.failOpenReads, "fail-open-reads", true, "answer reads from the mirror while the token is away")
	f.BoolVar(&o.failOverSigning, "fail-over-signing", false, "sign with the keystore's copy of a key while the token is away; wants mode full and the manifest pin")
	f.StringVar(&o.manifestPin, "manifest-pin", "", "thumbprint of the key that signs the mirror's manifest; see mirror pin")
	f.StringVar(&o.stateDir, "state-dir", "", "directory of your own, apart from the keystore, that keeps which manifest was seen, `DIR`")
	f.DurationVar(&o.timeout, "timeout", hsm.DefaultTimeout, "how long one operation of the token may take")
	f.StringVarP(&o.output, "output", "o", outputTable, "table, json or yaml")
	f.StringVar(&o.config, "config", "", "configuration `FILE`; see hsmmirror help config")
	f.VisitAll(func(flag *pflag.Flag) { flag.Usage += " (" + envName(flag) + ")" })
	f.SortFlags = false
	complete(root, "mode", "public_only", "full", "none")
	complete(root, "output", outputTable, outputJSON, outputYAML)
}

// complete makes the shell offer values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag does not exist: an error of the program
	}
}

func envName(flag *pflag.Flag) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

// fill fills in what the command line left open, from the environment and then from the configuration file, and checks the whole.
func (o *options) fill(flags *pflag.FlagSet) error {
	o.origins = map[string]string{}
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed {
			o.origins[flag.Name] = "command line"
		}
	})
	if err := o.fillFrom(flags, func(flag *pflag.Flag) (string, string) { return os.Getenv(envName(flag)), envName(flag) }); err != nil {
		return err
	}
	file, err := readConfig(o.config)
	if err != nil {
		return err
	}
	err = o.fillFrom(flags, func(flag *pflag.Flag) (string, string) { return file.values[flag.Name], file.origin(flag.Name) })
	if err != nil {
		return err
	}
	return o.check()
}

// fillFrom fills in from one layer what the layers above left open. An empty value is none. What has a rival in a layer above is
// left alone: a token that is named on the command line makes the one of the environment meaningless, in all its parts.
func (o *options) fillFrom(flags *pflag.FlagSet, layer func(*pflag.Flag) (value, origin string)) error {
	above := maps.Clone(o.origins)
	var err error
	flags.VisitAll(func(flag *pflag.Flag) {
		value, origin := layer(flag)
		outdone := slices.ContainsFunc(rivals[flag.Name], func(rival string) bool { return above[rival] != "" })
		if value == "" || above[flag.Name] != "" || outdone || err != nil {
			return
		}
		if flag.Value.Set(value) != nil {
			err = usagef("", "%s: want a value as --%s takes it", origin, flag.Name)
		}
		o.origins[flag.Name] = origin
	})
	return err
}

func (o *options) check() error {
	if o.output != outputTable && o.output != outputJSON && o.output != outputYAML {
		return usagef("", "output %q: want table, json or yaml", o.output)
	}
	if o.timeout <= 0 {
		return usagef("", "timeout %v: want a positive duration, such as 5s", o.timeout)
	}
	switch mirror.Mode(o.mode) {
	case mirror.PublicOnly, mirror.Full, mirror.None:
	default:
		return usagef("", "mode %q: want public_only, full or none", o.mode)
	}
	if o.failOverSigning && (mirror.Mode(o.mode) != mirror.Full || o.manifestPin == "") {
		return usagef("hsmmirror mirror pin prints the pin", "signing that fails over: want --mode full and --manifest-pin with it")
	}
	if o.uri != "" && (o.module != "" || o.token != "" || o.serial != "" || o.slot != "") {
		return usagef("", "a store by --uri, and a token by --module, --token, --serial or --slot: want one of the two")
	}
	return nil
}

// json tells whether the output is for programs: JSON, or the same as YAML.
func (o *options) json() bool { return o.output != outputTable }

// limit is how long one call into a module may take. Commands that are run without a command line, in tests, have the default.
func (o *options) limit() time.Duration { return cmp.Or(o.timeout, hsm.DefaultTimeout) }

var errNoStore = usagef("name a token with --module and --token (or --serial, --slot), a keystore with --store, or any store with --uri; see hsmmirror --help",
	"no store was named")
