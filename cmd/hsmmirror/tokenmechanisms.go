package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

func newTokenMechanisms(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "mechanisms",
		Aliases: []string{"mechs", "list-mechanisms"},
		Short:   "List what a token can do",
		Long: `List the mechanisms of a token with the sizes of their keys, in bits or bytes as
each counts them, and what they are good for; then our algorithms, with the
sizes that the token makes and the mechanism that is missing for one. Nobody
logs in.`,
		Example: `  hsmmirror token mechanisms --token demo
  hsmmirror token mechanisms --token demo -o json | jq '.algorithms[] | select(.create | not)'`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.one(cmd.Context())
			if err != nil {
				return err
			}
			hsm.SortMechanisms(s.slot.Token.Mechanisms)
			return a.printMechanisms(*s.slot.Token)
		},
	}
}

func (a *app) printMechanisms(t hsm.TokenDetails) error {
	if a.options.json() {
		return a.printJSON(newMechanismsJSON(t))
	}
	mechanisms := make([][]string, 0, len(t.Mechanisms))
	for _, m := range t.Mechanisms {
		mechanisms = append(mechanisms, []string{m.Name, keySizes(m), mechanismText(m), join(m.Algs)})
	}
	algs := make([][]string, 0, len(t.Algs))
	for _, s := range t.Algs {
		algs = append(algs, []string{string(s.Alg), able(s.Create), able(s.Use), bitSizes(s), s.Missing})
	}
	_, err := io.WriteString(a.out, formatTable([]string{"MECHANISM", "KEYS", "CAN", "FOR"}, mechanisms, a.width())+"\n"+
		formatTable([]string{"ALGORITHM", "CREATE", "USE", "BITS", "MISSING"}, algs, a.width()))
	return err
}

func keySizes(m hsm.Mechanism) string {
	switch {
	case m.MinKey == 0 && m.MaxKey == 0:
		return ""
	case m.MinKey == m.MaxKey:
		return strconv.FormatUint(uint64(m.MinKey), 10)
	}
	return fmt.Sprintf("%d-%d", m.MinKey, m.MaxKey)
}

// mechanismText says what a mechanism can do: "sign, verify, on the hardware".
func mechanismText(m hsm.Mechanism) string {
	if m.Problem != "" {
		return m.Problem
	}
	words := make([]string, 0, len(m.Flags))
	hardware := false
	for _, f := range m.Flags {
		if f == "HW" {
			hardware = true
		}
		if f == "HW" || strings.HasPrefix(f, "EC_") { // how curves and points are written: for programs
			continue
		}
		words = append(words, strings.ToLower(strings.ReplaceAll(f, "_", " ")))
	}
	if hardware {
		words = append(words, "on the hardware")
	}
	return strings.Join(words, ", ")
}

func able(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func bitSizes(s provider.AlgSupport) string {
	switch {
	case !s.Create:
		return ""
	case s.MinBits == s.MaxBits:
		return strconv.Itoa(s.MinBits)
	}
	return fmt.Sprintf("%d-%d", s.MinBits, s.MaxBits)
}
