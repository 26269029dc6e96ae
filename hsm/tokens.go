//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// pickLocked returns the token that cfg selects. Without an epoch it initialises the module for as long as it looks.
func (l *library) pickLocked(cfg Config) (TokenInfo, error) {
	tokens, err := l.tokensLocked()
	if err != nil {
		return TokenInfo{}, err
	}
	var found []TokenInfo
	for _, t := range tokens {
		if t.Problem == "" && cfg.matches(t) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		found[0].twin = hasTwin(tokens, found[0])
		return found[0], nil
	case 0:
		return TokenInfo{}, fmt.Errorf("%w: no token with %s: the module shows %s", provider.ErrUnavailable, cfg.selection(), summary(tokens))
	}
	return TokenInfo{}, provider.Invalidf("%d tokens with %s: want one: select by serial number: %s", len(found), cfg.selection(), summary(found))
}

// tokensLocked describes every token of the module.
func (l *library) tokensLocked() ([]TokenInfo, error) {
	if l.epoch == 0 {
		if err := l.initialize(); err != nil {
			return nil, initializeError(l, err)
		}
		defer func() { _ = l.finalizeLocked() }() // or the next C_Initialize is preceded by it
	}
	slots, err := l.p11.GetSlotList(true)
	if err != nil {
		return nil, newError("", "C_GetSlotList", err)
	}
	module, err := l.p11.GetInfo()
	if err != nil {
		return nil, newError("", "C_GetInfo", err)
	}
	tokens := make([]TokenInfo, len(slots))
	for i, slot := range slots {
		tokens[i] = readToken(l.p11, slot)
		tokens[i].LibraryManufacturer, tokens[i].Library = trim(module.ManufacturerID), trim(module.LibraryDescription)
		tokens[i].LibraryVersion = dotted(module.LibraryVersion)
		tokens[i].asksLengths = l.direct == nil
	}
	return tokens, nil
}

// initializeError says what a refused C_Initialize means.
func initializeError(l *library, err error) error {
	e := newError("", "C_Initialize", err)
	switch {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)):
		return fmt.Errorf("%w: module %s: something else in this process has initialised it already: %v", provider.ErrInvalid, l.path, e)
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_ARGUMENTS_BAD)) && l.args == nil:
		return fmt.Errorf("%w: module %s: it needs initialisation arguments, as NSS does: want Config.InitArgs, or %s in the URI: %v", provider.ErrInvalid, l.path, initReserved, e)
	}
	return e
}

// summary lists tokens in a few words each.
func summary(tokens []TokenInfo) string {
	if len(tokens) == 0 {
		return "no token"
	}
	parts := make([]string, len(tokens))
	for i, t := range tokens {
		parts[i] = fmt.Sprintf("label %s serial %s slot %d", quote(t.Label), quote(t.Serial), t.Slot)
		switch {
		case t.Problem == "" && !t.Initialized:
			parts[i] = fmt.Sprintf("slot %d (not initialized)", t.Slot)
		case t.Problem != "":
			parts[i] = fmt.Sprintf("slot %d (%s)", t.Slot, t.Problem)
		}
	}
	return strings.Join(parts, "; ")
}
