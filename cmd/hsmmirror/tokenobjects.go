package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// objectFlags are the flags of token objects.
type objectFlags struct {
	class, label, id, kid string
	long                  bool
}

// classes are the classes of objects, as people name them.
var classes = map[string]string{
	"private": "CKO_PRIVATE_KEY", "public": "CKO_PUBLIC_KEY", "secret": "CKO_SECRET_KEY", "certificate": "CKO_CERTIFICATE", "data": "CKO_DATA",
	"privkey": "CKO_PRIVATE_KEY", "pubkey": "CKO_PUBLIC_KEY", "secrkey": "CKO_SECRET_KEY", "cert": "CKO_CERTIFICATE", // pkcs11-tool --type
}

func newTokenObjects(a *app) *cobra.Command {
	var flags objectFlags
	cmd := &cobra.Command{
		Use:     "objects",
		Aliases: []string{"list-objects"},
		Short:   "List the objects on a token",
		Long: `List every object on a token: the keys of hsmmirror (ours), the rest of an
operation that was cut off (half), and what other tools made (foreign), with
what is remarkable about each. --long shows all attributes, in words. Without
--pin-source it shows what the token shows to everyone. Secret values are never
read. hsmmirror key adopt makes a foreign key one of ours.`,
		Example: `  hsmmirror token objects --token demo
  hsmmirror token objects --token demo --pin-source prompt --class private --long
  hsmmirror token objects --token demo -o json | jq '.[] | select(.findings != [])'`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keep, err := flags.filter()
			if err != nil {
				return err
			}
			s, err := a.one(cmd.Context())
			if err != nil {
				return err
			}
			seen, err := a.objects(cmd.Context(), s)
			if err != nil {
				return err
			}
			a.noteLogin(seen)
			return a.printObjects(slices.DeleteFunc(seen.Objects, func(o hsm.ObjectInfo) bool { return !keep(o) }), flags.long)
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.class, "class", "", "only private, public, secret, certificate or data objects, or those of a CKO_ name")
	f.StringVar(&flags.label, "label", "", "only objects with this CKA_LABEL")
	f.StringVar(&flags.id, "id", "", "only objects with this CKA_ID, in `HEX`")
	f.StringVar(&flags.kid, "kid", "", "only objects of this key of ours, `KID` or KID.VERSION")
	f.BoolVarP(&flags.long, "long", "l", false, "all attributes, in words")
	f.SortFlags = false
	complete(cmd, "class", "private", "public", "secret", "certificate", "data")
	return cmd
}

// filter returns the test that the flags stand for.
func (f *objectFlags) filter() (func(hsm.ObjectInfo) bool, error) {
	class, known := classes[strings.ToLower(f.class)]
	if !known {
		class = strings.ToUpper(f.class)
	}
	if !known && f.class != "" && !strings.HasPrefix(class, "CKO_") {
		return nil, usagef("", "class %q: want private, public, secret, certificate, data or a CKO_ name", f.class)
	}
	id, err := parseID(f.id)
	if err != nil {
		return nil, err
	}
	kid, version, one := provider.SplitJWKKID(f.kid)
	return func(o hsm.ObjectInfo) bool {
		return (class == "" || o.Class == class) && (f.label == "" || o.Label == f.label) && (len(id) == 0 || bytes.Equal(o.ID, id)) &&
			(f.kid == "" || o.KID == f.kid || one && o.KID == kid && o.Version == version)
	}, nil
}

// parseID reads a CKA_ID in hexadecimal; colons may stand in it.
func parseID(s string) ([]byte, error) {
	id, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		return nil, usagef("", "ID %q: want hexadecimal digits, two for each byte", s)
	}
	return id, nil
}

// objects has the objects of a token described.
func (a *app) objects(ctx context.Context, s seenSlot) (hsm.TokenObjects, error) {
	token := probeToken{Slot: s.slot.ID, Label: s.slot.Token.Label, Serial: s.slot.Token.Serial}
	if err := a.logIn(ctx, &token); err != nil {
		return hsm.TokenObjects{}, err
	}
	defer clear(token.PIN)
	var seen hsm.TokenObjects
	err := a.probe(ctx, probeRequest{Module: s.module.Path, InitArgs: s.initArgs, Objects: &token}, func(e probeEvent) { seen = *e.Objects })
	return seen, err
}

// noteLogin says what a login would add.
func (a *app) noteLogin(t hsm.TokenObjects) {
	if t.LoggedIn || !slices.Contains(t.Token.Flags, "LOGIN_REQUIRED") {
		return
	}
	alone := 0
	for _, o := range t.Objects {
		if o.Class == "CKO_PUBLIC_KEY" {
			alone++
		}
	}
	hidden := "private and secret keys and private data are hidden"
	if alone > 0 {
		hidden += fmt.Sprintf(", among them the private halves of %d public keys", alone)
	}
	a.notes.add("hint", "nobody is logged in, so %s: name the PIN's source with --pin-source", hidden)
}

func (a *app) printObjects(found []hsm.ObjectInfo, long bool) error {
	slices.SortStableFunc(found, func(a, b hsm.ObjectInfo) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID), strings.Compare(a.Class, b.Class))
	})
	objects, rows := make([]objectJSON, 0, len(found)), make([][]string, 0, len(found))
	var text strings.Builder
	for i, o := range found {
		if o.Problem != "" {
			a.notes.degrade("%s with label %s and ID %s: %s", o.Class, strconv.Quote(o.Label), hex.EncodeToString(o.ID), o.Problem)
		}
		objects, rows = append(objects, newObjectJSON(o)), append(rows, objectRow(o))
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(objectTitle(o) + "\n" + formatFields("  ", objectFields(o)))
	}
	switch {
	case a.options.json():
		return a.printJSON(objects)
	case long:
		_, err := io.WriteString(a.out, text.String())
		return err
	}
	return a.printTable([]string{"CLASS", "TYPE", "BITS", "LABEL", "ID", "STATUS", "KEY", "NOTES"}, rows)
}

func objectRow(o hsm.ObjectInfo) []string {
	key, bits := "", ""
	if o.KID != "" {
		key = provider.JWKKID(o.KID, o.Version)
	}
	if o.Bits != 0 {
		bits = strconv.Itoa(o.Bits)
	}
	var notes []string
	for _, f := range o.Findings {
		if word := strings.ReplaceAll(f.Code, "_", " "); !slices.Contains(notes, word) {
			notes = append(notes, word)
		}
	}
	return []string{className(o.Class), strings.TrimPrefix(o.KeyType, "CKK_"), bits, o.Label, shortID(o.ID), o.Status, key, strings.Join(notes, ", ")}
}

// shortID is a CKA_ID in hexadecimal, cut where nobody would read on: an ID that identifies has 32 bytes at most.
func shortID(id []byte) string {
	const most = 32
	if len(id) <= most {
		return hex.EncodeToString(id)
	}
	return fmt.Sprintf("%x… (%d bytes)", id[:most/4], len(id))
}
