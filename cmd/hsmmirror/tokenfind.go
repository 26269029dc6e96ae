package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/internal/modpath"
	"github.com/hsmmirror/hsmmirror/provider"
)

// seenSlot is a slot of a module, as inspection saw it.
type seenSlot struct {
	module   hsm.ModuleInfo
	initArgs string // as in hsm.Config
	slot     hsm.SlotInfo
}

// seenModule is what became of a look at a module.
type seenModule struct {
	info     hsm.ModuleInfo
	initArgs string
	err      error
}

// modules looks at the module that the options name, or at all that this machine has. Of one that was named an error is returned, of
// the others each has its own.
func (a *app) modules(ctx context.Context) ([]seenModule, error) {
	path, initArgs, err := a.options.modulePath()
	if err != nil {
		return nil, err
	}
	if path != "" {
		m := a.look(ctx, modpath.Module{Path: path}, initArgs)
		return []seenModule{m}, m.err
	}
	found := modpath.Find()
	if len(found) == 0 {
		return nil, usagef("name one with --module PATH", "no PKCS#11 module is configured in p11-kit, and none is in a well-known place")
	}
	defer a.progress(ctx, "the modules are being looked at")()
	seen := make([]seenModule, len(found))
	turn := make(chan struct{}, 4)
	var all sync.WaitGroup
	for i, m := range found {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			seen[i] = a.look(ctx, m, "")
		})
	}
	all.Wait()
	return seen, ctx.Err()
}

// look has a module described.
func (a *app) look(ctx context.Context, m modpath.Module, initArgs string) seenModule {
	seen := seenModule{info: hsm.ModuleInfo{Path: m.Path}, initArgs: initArgs}
	if m.Problem != "" {
		seen.err = fmt.Errorf("module %s, of %s: %s", printable(cmp.Or(m.Path, "without a path")), printable(m.Source), m.Problem)
		return seen
	}
	err := a.probe(ctx, probeRequest{Module: m.Path, InitArgs: initArgs}, func(e probeEvent) { seen.info = *e.Module })
	if err != nil && !errors.As(err, new(*errModule)) && !strings.Contains(err.Error(), m.Path) {
		err = fmt.Errorf("module %s: %w", printable(m.Path), err)
	}
	seen.err = err
	return seen
}

// modulePath returns the module that the options name, and what it wants to be told in C_Initialize; nothing if they name none.
func (o *options) modulePath() (path, initArgs string, err error) {
	if o.module != "" || o.uri == "" {
		return o.module, "", nil
	}
	if !isPKCS11(o.uri) {
		return "", "", usagef("", "--uri: want a token, pkcs11:…")
	}
	cfg, err := hsm.ConfigFromURI(o.uri)
	return cfg.Module, cfg.InitArgs, err
}

// slots returns all slots of modules, and notes what could not be looked at.
func (a *app) slots(modules []seenModule) []seenSlot {
	var slots []seenSlot
	for _, m := range modules {
		if m.err != nil {
			a.notes.degrade("left out: %v", m.err)
			continue
		}
		for _, s := range m.info.Slots {
			if s.Problem != "" {
				a.notes.degrade("slot %d of %s: %s", s.ID, printable(m.info.Path), s.Problem)
			}
			slots = append(slots, seenSlot{m.info, m.initArgs, s})
		}
	}
	return slots
}

// selected tells whether the options select a token, and not all.
func (o *options) selected() bool {
	if o.uri != "" {
		cfg, err := hsm.ConfigFromURI(o.uri)
		return err == nil && (cfg.Label != "" || cfg.Serial != "" || cfg.Slot != nil || cfg.Manufacturer != "" || cfg.Model != "")
	}
	return o.token != "" || o.serial != "" || o.slot != ""
}

// chosen returns the slots whose tokens the options select: all tokens if they select none.
func (a *app) chosen(ctx context.Context) ([]seenSlot, error) {
	modules, err := a.modules(ctx)
	if err != nil {
		return nil, err
	}
	want, err := a.options.selector()
	if err != nil {
		return nil, err
	}
	a.primary = tokenName(hsm.Config{Label: want.label, Serial: want.serial, Slot: want.slot})
	before := a.notes
	var chosen []seenSlot
	for _, s := range a.slots(modules) {
		if s.slot.Token != nil && want.matches(s.slot.Token.TokenInfo) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) > 0 {
		a.notes = before // what else was looked at on the way is nobody's concern
	}
	return chosen, nil
}

// one returns the one token that the options select. If they select none, it is the only one that is initialized, lists of trusted
// certificates left aside.
func (a *app) one(ctx context.Context) (seenSlot, error) {
	slots, err := a.chosen(ctx)
	if err != nil {
		return seenSlot{}, err
	}
	if !a.options.selected() {
		var ready []seenSlot
		for _, s := range slots {
			if t := s.slot.Token; t.Initialized && !(slices.Contains(t.Flags, "WRITE_PROTECTED") && !slices.Contains(t.Flags, "LOGIN_REQUIRED")) {
				ready = append(ready, s)
			}
		}
		slots = ready
	}
	switch len(slots) {
	case 1:
		return slots[0], nil
	case 0:
		if a.options.selected() {
			return seenSlot{}, errNoSuchToken
		}
		return seenSlot{}, usagef("hsmmirror token list shows all slots; select a token with --module and --token", "no token was named, and no module shows one for keys")
	}
	var words []string
	for _, s := range slots {
		words = append(words, fmt.Sprintf("%s (serial %s, slot %d)", strconv.Quote(s.slot.Token.Label), strconv.Quote(s.slot.Token.Serial), s.slot.ID))
	}
	return seenSlot{}, usagef("select one with --token, --serial or --slot; hsmmirror token list shows them", "%d tokens: %s: want one", len(slots), strings.Join(words, ", "))
}

// selector says which tokens are wanted; its zero value wants all.
type selector struct {
	label, serial, manufacturer, model string
	slot                               *uint
}

func (o *options) selector() (selector, error) {
	if o.uri != "" {
		cfg, err := hsm.ConfigFromURI(o.uri)
		return selector{cfg.Label, cfg.Serial, cfg.Manufacturer, cfg.Model, cfg.Slot}, err
	}
	s := selector{label: o.token, serial: o.serial}
	var err error
	s.slot, err = o.slotID()
	return s, err
}

// slotID returns the slot that --slot names; nil if it names none.
func (o *options) slotID() (*uint, error) {
	if o.slot == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(o.slot, 0, strconv.IntSize)
	if err != nil {
		return nil, usagef("", "slot %q: want a number", o.slot)
	}
	slot := uint(n)
	return &slot, nil
}

func (s selector) matches(t hsm.TokenInfo) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return same(s.label, t.Label) && same(s.serial, t.Serial) && same(s.manufacturer, t.Manufacturer) && same(s.model, t.Model) &&
		(s.slot == nil || *s.slot == t.Slot)
}

// logIn fills in how a probe logs in, from the PIN source that the options name; it does not if they name none. The caller clears PIN.
func (a *app) logIn(ctx context.Context, token *probeToken) error {
	var cfg hsm.Config
	if isPKCS11(a.options.uri) {
		var err error
		if cfg, err = hsm.ConfigFromURI(a.options.uri); err != nil {
			return err
		}
	}
	what := "PIN of token " + strconv.Quote(token.Label)
	switch spec := a.options.pinSource; {
	case cfg.PINPad || cfg.PIN == nil && spec == hsm.PINPadSource:
		token.LogIn, token.PINPad = true, true
		return nil
	case cfg.PIN == nil && spec == "":
		return nil
	case cfg.PIN == nil:
		var err error
		if cfg.PIN, err = secretSource(ctx, "pin-source", spec, what); err != nil {
			return err
		}
	}
	secret, err := cfg.PIN(ctx)
	if err != nil {
		if !errors.Is(err, provider.ErrAuth) && !errors.Is(err, provider.ErrInvalid) {
			err = fmt.Errorf("%w: %w", provider.ErrAuth, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	defer secret.Wipe()
	token.LogIn, token.PIN = true, append([]byte{}, secret.Expose()...)
	return nil
}
