package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

func newTokenInfo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "info",
		Aliases: []string{"show", "show-info"},
		Short:   "Describe the tokens that are selected, or all",
		Long: `Describe, in words and without logging in, all that a token says of itself: the
library, the slot, versions, flags, the state of the PIN, sessions and memory,
and the RFC 7512 URI that selects it, ready for --uri.`,
		Example: `  hsmmirror token info --token demo
  hsmmirror token info --serial 4f9a1c2b -o yaml`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			slots, err := a.chosen(cmd.Context())
			if err != nil {
				return err
			}
			if len(slots) == 0 && a.options.selected() {
				return errNoSuchToken
			}
			return a.printTokens(slots)
		},
	}
}

// errNoSuchToken means that every module answered, and none shows the token.
var errNoSuchToken = fmt.Errorf("%w: %w", provider.ErrUnavailable, errors.New("no module shows such a token"))

func (a *app) printTokens(slots []seenSlot) error {
	objects := make([]tokenJSON, 0, len(slots))
	var text strings.Builder
	for i, s := range slots {
		objects = append(objects, newTokenJSON(s))
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(formatFields("", tokenFields(s)))
	}
	if a.options.json() {
		return a.printJSON(objects)
	}
	_, err := io.WriteString(a.out, text.String())
	return err
}

func tokenFields(s seenSlot) []field {
	t := s.slot.Token
	return []field{
		{"label", t.Label},
		{"serial", t.Serial},
		{"manufacturer", t.Manufacturer},
		{"model", t.Model},
		{"hardware", t.Hardware},
		{"firmware", t.Firmware},
		{"state", tokenState(*t)},
		{"user PIN", pinText(*t)},
		{"flags", flagText(t.Flags)},
		{"sessions", limitText(t.Sessions, t.MaxSessions)},
		{"read/write sessions", limitText(t.RWSessions, t.MaxRWSessions)},
		{"public memory", memoryText(t.FreePublicMemory, t.PublicMemory)},
		{"private memory", memoryText(t.FreePrivateMemory, t.PrivateMemory)},
		{"clock", t.Clock},
		{"mechanisms", strconv.Itoa(len(t.Mechanisms))},
		{"slot", fmt.Sprintf("%d, %s", s.slot.ID, printable(s.slot.Description))},
		{"slot flags", flagText(s.slot.Flags)},
		{"module", s.module.Path},
		{"library", fmt.Sprintf("%s, %s, version %s, PKCS#11 %s", printable(s.module.Description), printable(s.module.Manufacturer), s.module.Version, s.module.Cryptoki)},
		{"uri", tokenURI(s)},
	}
}

// tokenURI returns the URI that selects the token, with the module where it was found and what that wants to be told.
func tokenURI(s seenSlot) string {
	if s.slot.Token == nil || s.slot.Token.URI == "" {
		return ""
	}
	uri := s.slot.Token.URI + "?module-path=" + escapeQuery(s.module.Path)
	if s.initArgs != "" {
		uri += "&x-init-reserved=" + escapeQuery(s.initArgs)
	}
	return uri
}

// escapeQuery encodes what may not stand in the value of a query attribute (RFC 7512 section 2.3).
func escapeQuery(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/:+", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func pinText(t hsm.TokenDetails) string {
	if t.MinPIN == hsm.Unknown || t.MaxPIN <= 0 {
		return t.PINState()
	}
	return fmt.Sprintf("%s; %d to %d bytes", t.PINState(), t.MinPIN, t.MaxPIN)
}

func limitText(open, most int) string {
	limit := "no limit"
	switch {
	case most == hsm.Unknown:
		limit = "limit not told"
	case most > 0:
		limit = "at most " + strconv.Itoa(most)
	}
	if open == hsm.Unknown {
		return limit
	}
	return fmt.Sprintf("%d open, %s", open, limit)
}

func memoryText(free, total int) string {
	switch {
	case free == hsm.Unknown && total == hsm.Unknown:
		return ""
	case free == hsm.Unknown:
		return fmt.Sprintf("%d bytes", total)
	case total == hsm.Unknown:
		return fmt.Sprintf("%d bytes free", free)
	}
	return fmt.Sprintf("%d of %d bytes free", free, total)
}

// flagWords says what the flags of a token mean (PKCS#11 v3.0 section 3.2).
var flagWords = map[string]string{
	"RNG":                           "has a random number generator",
	"WRITE_PROTECTED":               "write protected",
	"LOGIN_REQUIRED":                "wants a login",
	"USER_PIN_INITIALIZED":          "user PIN set",
	"RESTORE_KEY_NOT_NEEDED":        "restores sessions without keys",
	"CLOCK_ON_TOKEN":                "has a clock",
	"PROTECTED_AUTHENTICATION_PATH": "PIN entered on the device",
	"DUAL_CRYPTO_OPERATIONS":        "two operations at once",
	"TOKEN_INITIALIZED":             "initialized",
	"SECONDARY_AUTHENTICATION":      "secondary authentication",
	"USER_PIN_COUNT_LOW":            "a wrong user PIN was tried",
	"USER_PIN_FINAL_TRY":            "one more wrong user PIN locks it",
	"USER_PIN_LOCKED":               "user PIN locked",
	"USER_PIN_TO_BE_CHANGED":        "user PIN to be changed",
	"SO_PIN_COUNT_LOW":              "a wrong SO PIN was tried",
	"SO_PIN_FINAL_TRY":              "one more wrong SO PIN locks it",
	"SO_PIN_LOCKED":                 "SO PIN locked",
	"SO_PIN_TO_BE_CHANGED":          "SO PIN to be changed",
	"ERROR_STATE":                   "failed its self-test",
	"TOKEN_PRESENT":                 "token present",
	"REMOVABLE_DEVICE":              "removable",
	"HW_SLOT":                       "hardware",
}

func flagText(flags []string) string {
	words := make([]string, len(flags))
	for i, f := range flags {
		if words[i] = flagWords[f]; words[i] == "" {
			words[i] = f
		}
	}
	return strings.Join(words, ", ")
}
