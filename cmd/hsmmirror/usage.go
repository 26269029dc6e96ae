package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hsmmirror/hsmmirror/provider"
)

// usageError is a mistake on the command line.
type usageError struct {
	text  string
	hint  string
	cause error // nil: there is none but the command line
}

func (e *usageError) Error() string { return e.text }

func (e *usageError) Unwrap() error { return e.cause }

// usageErrorf returns a usageError that wraps cause.
func usageErrorf(cause error, format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...), cause: cause}
}

func usagef(hint, format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...), hint: hint}
}

// hintedError is an error that says what to do, and is none of the command line.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// ckrPINLocked is CKR_PIN_LOCKED (PKCS#11 v3.0 section 5.1).
const ckrPINLocked = 0xA4

// hintFor returns what to do about err, or nothing.
func hintFor(err error) string {
	var usage *usageError
	var more *hintedError
	switch {
	case errors.As(err, &usage):
		return usage.hint
	case errors.Is(err, errNoSuchToken):
		return "hsmmirror token list shows the tokens that are there"
	case errors.As(err, &more):
		return more.hint
	case refusedPIN(err) != nil && refusedPIN(err).Code == ckrPINLocked:
		return "unlock it with the security officer's PIN, such as by pkcs11-tool --init-pin"
	case refusedPIN(err) != nil:
		return "check the PIN before you try again: a few wrong ones lock most tokens"
	case errors.Is(err, provider.ErrAuth):
		return "name the source of the PIN with --pin-source, of a keystore's passphrase with --passphrase-source; a file has to be one that only its owner can read"
	case errors.Is(err, provider.ErrTampered):
		return "look at what was changed before you trust it again; hsmmirror token doctor looks at the files and the manifest, and hsmmirror help restore says how to go on"
	case errors.Is(err, provider.ErrNotFound):
		return "hsmmirror key list shows the keys of the store"
	case errors.Is(err, provider.ErrExists):
		return "hsmmirror key rotate makes a new version of a key"
	}
	return ""
}

// flagError takes care that a PIN that was typed in place of a flag is not repeated: of -p1234 it names -p only.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	if unknown := new(pflag.NotExistError); errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "" {
		text = "unknown flag: -" + unknown.GetSpecifiedName()[:1]
	}
	return usagef("see "+cmd.CommandPath()+" --help", "%s", text)
}

// args returns a check that a command was given what names say, such as KID; optional more may be left out.
func args(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < least {
			return usagef("see "+cmd.CommandPath()+" --help", "%s: want %s", cmd.CommandPath(), names[len(given)])
		}
		switch more := len(given) - len(names); {
		case more == 1:
			return usagef("see "+cmd.CommandPath()+" --help", "%s: 1 argument too many", cmd.CommandPath())
		case more > 1:
			return usagef("see "+cmd.CommandPath()+" --help", "%s: %d arguments too many", cmd.CommandPath(), more)
		}
		return nil
	}
}
