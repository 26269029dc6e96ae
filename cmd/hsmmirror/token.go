package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

func newToken(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Look into a PKCS#11 module and its tokens",
	}, newTokenList(a), newTokenObjects(a))
}

// tokenJSON is one token in JSON output.
type tokenJSON struct {
	Slot         uint     `json:"slot"`
	Label        string   `json:"label"`
	Manufacturer string   `json:"manufacturer"`
	Model        string   `json:"model"`
	Serial       string   `json:"serial"`
	Hardware     string   `json:"hardware"`
	Firmware     string   `json:"firmware"`
	Flags        []string `json:"flags"`
	Initialized  bool     `json:"initialized"`
	URI          string   `json:"uri"`
	Problem      string   `json:"problem,omitempty"`
}

func newTokenList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the tokens of a module",
		Long:    "List the tokens of a PKCS#11 module, without logging in.",
		Example: `  hsmmirror token list --module /usr/lib/softhsm/libsofthsm2.so`,
		Args:    args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			module, initArgs, err := a.options.modulePath()
			if err != nil {
				return err
			}
			tokens, err := hsm.Tokens(cmd.Context(), module, initArgs)
			if err != nil {
				return err
			}
			return a.printTokens(tokens)
		},
	}
}

// modulePath returns the module that the options name, and what it wants to be told in C_Initialize.
func (o *options) modulePath() (path, initArgs string, err error) {
	if o.module != "" {
		return o.module, "", nil
	}
	if cfg, err := hsm.ConfigFromURI(o.uri); err == nil && cfg.Module != "" {
		return cfg.Module, cfg.InitArgs, nil
	}
	return "", "", usagef("", "no module: want --module with the path of a PKCS#11 library")
}

func (a *app) printTokens(tokens []hsm.TokenInfo) error {
	objects, rows := make([]tokenJSON, 0, len(tokens)), make([][]string, 0, len(tokens))
	for _, t := range tokens {
		if t.Problem != "" {
			a.noteProblems([]error{fmt.Errorf("slot %d: %s", t.Slot, t.Problem)})
		}
		flags := t.Flags
		if flags == nil {
			flags = []string{}
		}
		objects = append(objects, tokenJSON{t.Slot, t.Label, t.Manufacturer, t.Model, t.Serial, t.Hardware, t.Firmware, flags, t.Initialized, t.URI, t.Problem})
		rows = append(rows, []string{strconv.FormatUint(uint64(t.Slot), 10), t.Label, t.Serial, t.Manufacturer, t.Model, tokenState(t)})
	}
	if a.options.json() {
		return a.printJSON(objects)
	}
	return a.printTable([]string{"SLOT", "LABEL", "SERIAL", "MANUFACTURER", "MODEL", "STATE"}, rows)
}

func tokenState(t hsm.TokenInfo) string {
	switch {
	case t.Problem != "":
		return t.Problem
	case !t.Initialized:
		return "not initialized"
	}
	return "ready"
}

// objectJSON is one object on a token in JSON output.
type objectJSON struct {
	Class    string        `json:"class"`
	KeyType  string        `json:"key_type,omitempty"`
	Label    string        `json:"label"`
	ID       string        `json:"id"`
	Bits     int           `json:"bits,omitempty"`
	KID      string        `json:"kid,omitempty"`
	Version  int           `json:"version,omitempty"`
	Status   string        `json:"status"`
	Evidence *evidenceJSON `json:"evidence,omitempty"`
	URI      string        `json:"uri"`
	Problem  string        `json:"problem,omitempty"`
}

func newTokenObjects(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "objects",
		Short: "List the objects on a token",
		Long: `List every object on a token that this login may see: the keys of hsmmirror
(ours), the rest of an operation that was cut off (half), and what other tools
made (foreign). hsmmirror key adopt makes a foreign key one of ours.`,
		Example: `  hsmmirror token objects --module /usr/lib/softhsm/libsofthsm2.so --token demo --pin-source file:pin`,
		Args:    args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withToken(cmd.Context(), func(ctx context.Context, t *hsm.Token) error {
				objects, err := t.Objects(ctx)
				if err != nil {
					return err
				}
				return a.printObjects(objects)
			})
		},
	}
}

// withToken is withStore for commands that work on the token itself.
func (a *app) withToken(ctx context.Context, f func(context.Context, *hsm.Token) error) error {
	if !a.options.hasPrimary() || a.options.uri != "" && !isPKCS11(a.options.uri) {
		return usagef("name a token with --module and --token (or --serial, --slot), or with --uri pkcs11:…", "no token was named")
	}
	t, err := a.openToken(ctx)
	if err != nil {
		return err
	}
	defer a.close(t)
	return f(ctx, t)
}

func (a *app) printObjects(list []hsm.Object) error {
	slices.SortStableFunc(list, func(a, b hsm.Object) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID), strings.Compare(a.Class, b.Class))
	})
	objects, rows := make([]objectJSON, 0, len(list)), make([][]string, 0, len(list))
	for _, o := range list {
		if o.Problem != "" {
			a.notes.degrade("%s with label %s and ID %s: %s", o.Class, strconv.Quote(o.Label), hex.EncodeToString(o.ID), o.Problem)
		}
		objects = append(objects, objectJSON{
			o.Class, o.KeyType, o.Label, hex.EncodeToString(o.ID), o.Bits, o.KID, o.Version, o.Status, newEvidenceJSON(o.Evidence), o.URI, o.Problem,
		})
		key, bits := "", ""
		if o.KID != "" {
			key = provider.JWKKID(o.KID, o.Version)
		}
		if o.Bits != 0 {
			bits = strconv.Itoa(o.Bits)
		}
		rows = append(rows, []string{o.Class, o.KeyType, bits, o.Label, hex.EncodeToString(o.ID), o.Status, key})
	}
	if a.options.json() {
		return a.printJSON(objects)
	}
	return a.printTable([]string{"CLASS", "TYPE", "BITS", "LABEL", "ID", "STATUS", "KEY"}, rows)
}
