package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// pinState looks at what the token says of its PIN.
func (d *doctor) pinState(s seenSlot) {
	switch state := s.slot.Token.PINState(); state {
	case "ok", "not wanted", "entered on the device":
		d.ok("PIN", "%s", state)
	case "locked":
		d.failed("PIN", "unlock it with the security officer's PIN, such as by pkcs11-tool --init-pin; no PIN is tried", "the user PIN is locked")
	case "one try left":
		d.failed("PIN", "log in once with another tool and the right PIN; no PIN is tried here", "one more wrong user PIN locks the token")
	case "not set":
		d.failed("PIN", "set it with the security officer's PIN, such as by pkcs11-tool --init-pin", "the user PIN is not set")
	case "some tries failed":
		d.warn("PIN", "find out who tries; a few more lock the token", "a wrong user PIN was tried")
	default:
		d.warn("PIN", "change it", "the user PIN is %s", state)
	}
}

// capabilities compares what the token gives with what is needed.
func (d *doctor) capabilities(s seenSlot) {
	var have, lack []string
	for _, alg := range s.slot.Token.Algs {
		switch {
		case alg.Create && alg.Use:
			have = append(have, string(alg.Alg))
		case slices.Contains(d.need, alg.Alg):
			d.failed("algorithms", "choose another algorithm or token", "%s is needed, and the token lacks %s", alg.Alg, alg.Missing)
		default:
			lack = append(lack, fmt.Sprintf("%s (it lacks %s)", alg.Alg, alg.Missing))
		}
	}
	text := "it gives " + cmp.Or(strings.Join(have, " "), "none of ours")
	if len(lack) > 0 {
		text += "; it does not give " + strings.Join(lack, ", ")
	}
	if len(have) == 0 {
		d.failed("algorithms", "choose another token, or have its mechanisms allowed", "%s", text)
	} else {
		d.ok("algorithms", "%s", text)
	}
	const wanted = hsm.DefaultSessions + 2
	if most := s.slot.Token.MaxRWSessions; most > 0 && most < wanted {
		d.warn("sessions", "expect less speed", "the token has %d sessions: a service takes up to %d", most, wanted)
	}
}

// try has the token work, and reads its objects. It reports false if there are none to be looked at.
func (d *doctor) try(ctx context.Context, s seenSlot) (hsm.TokenObjects, bool) {
	t := s.slot.Token
	if state := t.PINState(); state == "locked" || state == "one try left" || state == "not set" {
		return hsm.TokenObjects{}, false
	}
	token := &probeToken{Slot: s.slot.ID, Label: t.Label, Serial: t.Serial}
	err := d.logIn(ctx, token)
	defer clear(token.PIN)
	switch {
	case err != nil:
		d.failed("PIN source", "name a file that only its owner can read, an environment variable or a file descriptor", "%v", err)
		return hsm.TokenObjects{}, false
	case !token.LogIn && slices.Contains(t.Flags, "LOGIN_REQUIRED"):
		d.warn("login", "name the PIN's source with --pin-source", "no PIN source was named, so the token was not tried")
		return hsm.TokenObjects{}, false
	}
	if !d.work(ctx, s, token) {
		return hsm.TokenObjects{}, false
	}
	var seen hsm.TokenObjects
	err = d.probe(ctx, probeRequest{Module: s.module.Path, InitArgs: s.initArgs, Objects: token}, func(e probeEvent) { seen = *e.Objects })
	if err != nil {
		d.failed("keys", "try again; hsmmirror token objects shows the same", "%v", err)
	}
	return seen, err == nil
}

// work has the token work. It reports false if there was no login.
func (d *doctor) work(ctx context.Context, s seenSlot, token *probeToken) bool {
	in := true
	err := d.probe(ctx, probeRequest{Module: s.module.Path, InitArgs: s.initArgs, Objects: token, Trial: &hsm.Trial{}}, func(e probeEvent) {
		d.step(*e.Trial)
		in = in && (e.Trial.Step != hsm.TrialLogin || e.Trial.Failure == "")
	})
	if ctx.Err() != nil {
		return false // who interrupts wants no advice
	}
	if err != nil {
		d.failed("work", "look whether the token is there, and try again", "%v", err)
		return false
	}
	return in
}

// step makes a check of one step of a trial.
func (d *doctor) step(r hsm.TrialResult) {
	needed := slices.Contains(d.need, provider.KeyAlg(r.Step))
	switch {
	case r.Failure == "":
		d.ok(r.Step, "%s", r.Text)
	case r.Auth:
		d.failed(r.Step, "check the PIN before you try again: a few wrong ones lock most tokens", "the PIN was tried once and refused: %s", r.Failure)
	case r.Step == hsm.TrialData:
		d.failed(r.Step, "it can be inspected and not written to", "it takes no object for our records: %s", r.Failure)
	case r.Refused && !needed:
		d.warn(r.Step, "do not use it for this", "%s", r.Failure)
	default:
		d.failed(r.Step, "see what the token's maker says of it", "%s", r.Failure)
	}
}

// keys looks at what stands on the token.
func (d *doctor) keys(seen hsm.TokenObjects) {
	versions, foreign, problems := map[string]bool{}, 0, map[string]int{}
	for _, o := range seen.Objects {
		switch o.Status {
		case hsm.StatusOurs:
			versions[provider.JWKKID(o.KID, o.Version)] = true
			d.finding(o)
		case hsm.StatusHalf:
			if o.Problem != "" {
				break // told below
			}
			d.warn("keys", "hsmmirror token tidy takes it away; so does the next write to that key, after an hour", "%s %q is the rest of an operation that was cut off", className(o.Class), o.Label)
		default:
			foreign++
		}
		if o.Problem != "" {
			problems[o.Problem]++
		}
	}
	for _, problem := range slices.Sorted(maps.Keys(problems)) {
		d.warn("keys", "look with hsmmirror token objects --long", "%s that can't be read: %s", plural(problems[problem], "object"), problem)
	}
	d.ok("keys", "%d versions of ours, %d objects of other tools", len(versions), foreign)
}

// harmful are the findings that matter for a key of ours, with what to do about each.
var harmful = map[string]string{
	hsm.FindNotSensitive: "rotate the key",
	hsm.FindWasExposed:   "rotate the key",
	hsm.FindExpired:      "rotate the key",
	hsm.FindDuplicateID:  "find out which tool made the other, and remove it",
	hsm.FindMismatch:     "find out who changed it; it is not served",
	hsm.FindUndecodable:  "find out who changed it; it is not served",
	hsm.FindNoPublic:     "rotate the key, or give it its public key object back",
	hsm.FindKeyGone:      "rotate the key with --now: nothing signs until then",
}

func (d *doctor) finding(o hsm.ObjectInfo) {
	for _, f := range o.Findings {
		if advice, bad := harmful[f.Code]; bad {
			d.warn("keys", advice, "%s of %s: %s", className(o.Class), provider.JWKKID(o.KID, o.Version), f.Text)
		}
	}
}

// clockSkew is how far clocks may be apart without a warning.
const clockSkew = time.Minute

// tokenClock compares the token's clock, if it has one, with this machine's.
func (d *doctor) tokenClock(s seenSlot) {
	clock := s.slot.Token.Clock
	if len(clock) < 14 {
		return
	}
	at, err := time.Parse("20060102150405", clock[:14])
	if err != nil {
		d.warn("clock", "set the token's clock", "the token's clock says %s", clock)
		return
	}
	if off := time.Since(at).Round(time.Second); off > clockSkew || off < -clockSkew {
		d.warn("clock", "set one of the two", "the token's clock is %v apart from this machine's", off)
		return
	}
	d.ok("clock", "the token's clock agrees with this machine's")
}
