package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/mirror"
)

// statusJSON is the output of mirror status. docs/json.md describes the members.
type statusJSON struct {
	Primary    storeStatusJSON  `json:"primary"`
	Secondary  storeStatusJSON  `json:"secondary"`
	Confirmed  *time.Time       `json:"confirmed"`
	Unmirrored []versionWhy     `json:"unmirrored"`
	Orphans    []string         `json:"orphans"`
	Conflicts  []string         `json:"conflicts"`
	Tombstones int              `json:"tombstones"`
	Pending    []string         `json:"pending"`
	Manifest   *manifestSummary `json:"manifest"`
	Problem    string           `json:"problem,omitempty"`
}

type storeStatusJSON struct {
	Up     bool   `json:"up"`
	Reason string `json:"reason"`
}

type versionWhy struct {
	Version string `json:"version"`
	Reason  string `json:"reason"`
}

type manifestSummary struct {
	Generation int64     `json:"generation"`
	Issued     time.Time `json:"issued"`
	Expires    time.Time `json:"expires"`
	Key        string    `json:"key"`
	Pinned     bool      `json:"pinned"`
	Unsigned   []string  `json:"unsigned"`
	Problem    string    `json:"problem,omitempty"`
}

func newMirrorStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say what the mirror holds, and how old it is",
		Long: `Say whether the token answers, when it last confirmed what the mirror holds, how
the signed manifest is, and what is not as it should be: versions without a
copy, orphans, conflicts, destroys that are not finished, what can't be read.
The exit code is 3 if there is any of that.`,
		Example: `  hsmmirror mirror status
  hsmmirror mirror status -o json`,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withMirror(cmd.Context(), func(ctx context.Context, m *mirror.Mirror) error {
				_ = m.Health(ctx) // asks the token; what comes of it stands in the status
				list, _ := m.ListKeys(ctx)
				a.noteProblems(list.Problems)
				return a.printStatus(newStatusJSON(m.Status()))
			})
		},
	}
}

func newStatusJSON(s mirror.Status) statusJSON {
	j := statusJSON{
		Primary: newStoreStatus(s.Primary), Secondary: newStoreStatus(s.Secondary), Unmirrored: []versionWhy{}, Orphans: versionNames(s.Orphans),
		Conflicts: []string{}, Tombstones: s.Tombstones, Pending: versionNames(s.Pending),
	}
	if !s.Confirmed.IsZero() {
		t := seconds(s.Confirmed)
		j.Confirmed = &t
	}
	for _, u := range s.Unmirrored {
		j.Unmirrored = append(j.Unmirrored, versionWhy{u.Version.String(), u.Reason})
	}
	for _, c := range s.Conflicts {
		j.Conflicts = append(j.Conflicts, c.Version.String())
	}
	if m := s.Manifest; !m.Issued.IsZero() {
		j.Manifest = &manifestSummary{m.Generation, seconds(m.Issued), seconds(m.Expires), m.Key, m.Pinned, versionNames(m.Unsigned), ""}
		if m.Err != nil {
			j.Manifest.Problem = m.Err.Error()
		}
	}
	if s.State != nil {
		j.Problem = s.State.Error()
	}
	return j
}

func newStoreStatus(s mirror.StoreStatus) storeStatusJSON {
	j := storeStatusJSON{Up: !s.Down}
	if s.Err != nil {
		j.Reason = s.Err.Error()
	}
	return j
}

func versionNames(versions []mirror.Version) []string {
	names := make([]string, len(versions))
	for i, v := range versions {
		names[i] = v.String()
	}
	return names
}

func (a *app) printStatus(s statusJSON) error {
	a.judgeStatus(s)
	if a.options.json() {
		return a.printJSON(s)
	}
	fields := []field{
		{"token", upText(s.Primary)},
		{"keystore", upText(s.Secondary)},
		{"confirmed", ageText(s.Confirmed)},
		{"not mirrored", strings.Join(reasons(s.Unmirrored), "; ")},
		{"orphans", strings.Join(s.Orphans, " ")},
		{"conflicts", strings.Join(s.Conflicts, " ")},
		{"destroyed", plural(s.Tombstones, "version")},
		{"unfinished", strings.Join(s.Pending, " ")},
	}
	if m := s.Manifest; m != nil {
		pinned := "no: name the pin with --manifest-pin"
		if m.Pinned {
			pinned = "yes"
		}
		fields = append(fields, []field{
			{"manifest", fmt.Sprintf("generation %d", m.Generation)},
			{"issued", ageText(&m.Issued)},
			{"expires", date(m.Expires)},
			{"signed by", m.Key},
			{"pinned", pinned},
			{"unsigned", strings.Join(m.Unsigned, " ")},
		}...)
	} else {
		fields = append(fields, field{"manifest", "none"})
	}
	return a.printFields(fields)
}

// judgeStatus makes the exit code that of a degraded mirror where it is one.
func (a *app) judgeStatus(s statusJSON) {
	warn := func(when bool, format string, args ...any) {
		if when {
			a.notes.degrade(format, args...)
		}
	}
	warn(!s.Primary.Up, "%s is unavailable: %s", a.primary, a.outage(s.Primary.Reason))
	warn(!s.Secondary.Up, "the keystore is unavailable: %s", cause(s.Secondary.Reason))
	warn(len(s.Unmirrored)+len(s.Orphans)+len(s.Conflicts)+len(s.Pending) > 0, "the mirror is not as it should be: hsmmirror mirror reconcile repairs what can be repaired")
	if m := s.Manifest; m == nil {
		warn(true, "there is no signed manifest: nobody can tell what the mirror may serve")
	} else {
		warn(time.Now().After(m.Expires), "the manifest has expired: nothing is served from the mirror")
		warn(len(m.Unsigned) > 0, "the manifest does not name every version as it should: hsmmirror mirror reconcile has a new one signed")
		warn(m.Problem != "", "the manifest was not signed anew: %s", m.Problem)
	}
	warn(s.Problem != "", "nothing is served from the mirror: %s", s.Problem)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func upText(s storeStatusJSON) string {
	if s.Up {
		return "answers"
	}
	return "unavailable: " + cause(s.Reason)
}

func ageText(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return fmt.Sprintf("%s, %v ago", date(*t), max(time.Since(*t), 0).Round(time.Second))
}

func reasons(list []versionWhy) []string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.Version + ": " + v.Reason
	}
	return words
}
