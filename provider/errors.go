package provider

import (
	"context"
	"errors"
	"fmt"
)

// The closed set of errors. A store wraps one of these in every error that it returns, except where it returns the
// error of the caller's context. Use errors.Is.
var (
	// ErrNotFound means the store answered, and holds no such key or version. Do not retry.
	ErrNotFound = errors.New("key not found")

	// ErrExists means the kid or version is taken. Choose another kid, or rotate the key that is there.
	ErrExists = errors.New("key exists")

	// ErrUnsupported means the store can never do this: the mechanism is missing, or the store holds only the public
	// half. Choose another algorithm or store; do not retry.
	ErrUnsupported = errors.New("not supported")

	// ErrInvalid means an argument or configuration breaks a documented rule. Nothing was touched. Mend the call.
	ErrInvalid = errors.New("invalid")

	// ErrNotExportable means the key's export policy, or the token, keeps its private half where it is.
	ErrNotExportable = errors.New("key not exportable")

	// ErrUnavailable means the store gave no answer: token removed, session lost, directory unreadable, time limit
	// reached. Asking another store is safe; so is asking this one later.
	ErrUnavailable = errors.New("store unavailable")

	// ErrAuth means the store refused the PIN or passphrase, or needs one and got none. Do not retry: a few wrong PINs
	// lock most tokens.
	ErrAuth = errors.New("authentication refused")

	// ErrTampered means stored data is not what was once written: a damaged or swapped record. It was not served.
	// Look at the store before trusting it again.
	ErrTampered = errors.New("stored data damaged or tampered with")

	// ErrStale means the only answer at hand is older than allowed. It was not served.
	ErrStale = errors.New("stale")

	// ErrClosed means the provider was used after Close.
	ErrClosed = errors.New("provider closed")
)

// Invalidf returns an error that wraps [ErrInvalid] and says what was wanted and what came.
func Invalidf(format string, args ...any) error { return wrapf(ErrInvalid, format, args...) }

// NotFound returns the [ErrNotFound] for version of kid. Version 0 names the key as a whole.
func NotFound(kid string, version int) error {
	return wrapf(ErrNotFound, "%s", name(kid, version))
}

// Exists returns the [ErrExists] for version of kid. Version 0 names the key as a whole.
func Exists(kid string, version int) error {
	return wrapf(ErrExists, "%s", name(kid, version))
}

// Unsupportedf returns an error that wraps [ErrUnsupported] and names what is missing.
func Unsupportedf(format string, args ...any) error { return wrapf(ErrUnsupported, format, args...) }

// IsOutage tells whether err is the absence of an answer, so that another store may be asked. A context of the caller's
// that ended is no outage: nobody is waiting any more.
func IsOutage(err error) bool {
	return errors.Is(err, ErrUnavailable) && !errors.Is(err, context.Canceled)
}

func wrapf(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", sentinel, fmt.Errorf(format, args...))
}

func name(kid string, version int) string {
	if version == 0 {
		return fmt.Sprintf("%q", kid)
	}
	return fmt.Sprintf("%q version %d", kid, version)
}
