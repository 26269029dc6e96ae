package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
)

func newTokenList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "list-slots", "list-token-slots"},
		Short:   "List the slots and tokens of all modules, or of one",
		Long: `List every slot of every PKCS#11 module that p11-kit has configured or that is
in a well-known place, or of the module that --module names, without logging
in. hsmmirror token info shows all that a token says of itself.`,
		Example: `  hsmmirror token list
  hsmmirror token list --module /usr/lib/softhsm/libsofthsm2.so -o json`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			modules, err := a.modules(cmd.Context())
			if err != nil {
				return err
			}
			return a.printSlots(a.slots(modules))
		},
	}
}

func (a *app) printSlots(slots []seenSlot) error {
	objects, rows := make([]tokenJSON, 0, len(slots)), make([][]string, 0, len(slots))
	for _, s := range slots {
		objects = append(objects, newTokenJSON(s))
		rows = append(rows, tokenRow(s))
	}
	if len(slots) == 0 {
		a.notes.add("hint", "no module shows a slot: look whether the reader or the network is there, and the daemon that the module talks to runs")
	}
	if a.options.json() {
		return a.printJSON(objects)
	}
	return a.printTable([]string{"SLOT", "LABEL", "SERIAL", "MANUFACTURER", "MODEL", "PIN", "SESSIONS", "STATE", "MODULE"}, rows)
}

func tokenRow(s seenSlot) []string {
	slot := strconv.FormatUint(uint64(s.slot.ID), 10)
	t := s.slot.Token
	if t == nil {
		state := "empty"
		if s.slot.Problem != "" {
			state = "no answer"
		}
		return []string{slot, "", "", s.slot.Manufacturer, s.slot.Description, "", "", state, s.module.Path}
	}
	return []string{slot, t.Label, t.Serial, t.Manufacturer, t.Model, t.PINState(), sessions(t.Sessions, t.MaxSessions), tokenState(*t), s.module.Path}
}

func tokenState(t hsm.TokenDetails) string {
	state := []string{"ready"}
	if !t.Initialized {
		state[0] = "not initialized"
	}
	for _, flag := range t.Flags {
		switch flag {
		case "WRITE_PROTECTED":
			state = append(state, "read only")
		case "ERROR_STATE":
			state = append(state, "failed its self-test")
		}
	}
	return strings.Join(state, ", ")
}

// sessions returns "2 of 1024", "2" where there is no limit, or nothing where the token does not say.
func sessions(open, most int) string {
	switch {
	case open == hsm.Unknown && most > 0:
		return "at most " + strconv.Itoa(most)
	case open == hsm.Unknown:
		return ""
	case most > 0:
		return strconv.Itoa(open) + " of " + strconv.Itoa(most)
	}
	return strconv.Itoa(open)
}
