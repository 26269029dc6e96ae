package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hsmmirror/hsmmirror/internal/p11uri"
)

// settingJSON is one value of the configuration. docs/json.md describes the members.
type settingJSON struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func newConfig(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "config",
		Short: "The configuration: flags, environment and file",
		Long: `The configuration. A value comes from the first of these that has it:
  1. a flag on the command line
  2. an environment variable, such as HSMMIRROR_TOKEN for --token
  3. the configuration file that --config or HSMMIRROR_CONFIG names, or else
     ~/.config/hsmmirror/config.yaml, or else /etc/hsmmirror/config.yaml
A token that is named in one place makes what other places say of a token
meaningless.

The file is YAML, with the names of the flags and _ for -. hsmmirror init
writes one. It holds no PIN and no passphrase, only where they come from; one
that others can write is refused.`,
		Example: `  module: /usr/lib/softhsm/libsofthsm2.so
  token: demo
  pin_source: file:/etc/hsmmirror/pin
  store: /var/lib/hsmmirror`,
	}, newConfigShow(a))
}

func newConfigShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the values that count, and where each came from",
		Args:  args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.printSettings(a.settings(cmd.Root().PersistentFlags()))
		},
	}
}

// settings returns the values that count, in the order of the flags. A PIN that a URI carries is not among them.
func (a *app) settings(flags *pflag.FlagSet) []settingJSON {
	settings := []settingJSON{}
	flags.VisitAll(func(flag *pflag.Flag) {
		name := strings.ReplaceAll(flag.Name, "-", "_")
		if !slices.Contains(configKeys, name) {
			return
		}
		value, origin := flag.Value.String(), a.options.origins[flag.Name]
		if flag.Name == "uri" {
			value = withoutPIN(value)
		}
		if origin == "" {
			origin = "default"
		}
		settings = append(settings, settingJSON{name, value, origin})
	})
	return settings
}

// withoutPIN returns a store's URI without what may be a secret in it.
func withoutPIN(uri string) string {
	if u, err := p11uri.Parse(uri, p11uri.AllowPINValue); err == nil {
		u.PINValue.Wipe()
		return u.Format()
	}
	if base, query, ok := strings.Cut(uri, "?"); ok && strings.Contains(strings.ToLower(query), "pin") {
		return base + "?[redacted]"
	}
	return uri
}

func (a *app) printSettings(settings []settingJSON) error {
	if a.options.json() {
		return a.printJSON(settings)
	}
	rows := make([][]string, len(settings))
	for i, s := range settings {
		rows[i] = []string{s.Name, s.Value, s.Origin}
	}
	return a.printTable([]string{"NAME", "VALUE", "FROM"}, rows)
}
