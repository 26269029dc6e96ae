package provider

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// SecretSource returns a secret when a store asks for it: a PIN, a passphrase. Package secretsource makes one from a
// file, an environment variable, a file descriptor or a prompt. The store wipes what it returns.
type SecretSource func(ctx context.Context) (Secret, error)

// Opener opens the store that uri names. The scheme of uri is the one that the opener was registered for.
type Opener func(ctx context.Context, uri string) (Provider, error)

var registry = struct {
	sync.RWMutex
	openers map[string]Opener
}{openers: map[string]Opener{}}

// Register makes a store available to [Open] under a URI scheme, given without the colon. A store's package calls it in
// init. It panics if the scheme is taken or the opener nil, as database/sql does: both are errors of the program.
func Register(scheme string, open Opener) {
	registry.Lock()
	defer registry.Unlock()
	if open == nil {
		panic("provider: Register of a nil opener for " + scheme)
	}
	if _, taken := registry.openers[scheme]; taken {
		panic("provider: Register called twice for " + scheme)
	}
	registry.openers[scheme] = open
}

// Schemes returns the registered schemes in ascending order.
func Schemes() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.openers))
}

// Open opens the store that uri names: pkcs11: (RFC 7512), softfile:, mirrored:, or what else is registered. [ErrInvalid]
// for a uri without a registered scheme; otherwise the errors of the store. No error repeats the uri, which may name a PIN.
func Open(ctx context.Context, uri string) (Provider, error) {
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok {
		return nil, Invalidf("store URI without a scheme: want one of %v, then a colon", Schemes())
	}
	scheme = strings.ToLower(scheme)
	registry.RLock()
	open := registry.openers[scheme]
	registry.RUnlock()
	if open == nil {
		return nil, Invalidf("store URI with scheme %.40q: want one of %v; a program imports the store's package to register it", scheme, Schemes())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return open(ctx, uri)
}

// OpenKey opens the store that uri names and describes the key that uri names in it, by the query attributes kid and
// version (none: the latest) or in the store's own way ([Resolving]). The caller closes the store.
func OpenKey(ctx context.Context, uri string) (Provider, KeyRef, error) {
	p, err := Open(ctx, uri)
	if err != nil {
		return nil, KeyRef{}, err
	}
	ref, err := KeyByURI(ctx, p, uri)
	if err != nil {
		return nil, KeyRef{}, joinClose(err, p)
	}
	return p, ref, nil
}

// KeyByURI describes the key that uri names in p, as in [OpenKey]. [ErrInvalid] if uri names none.
func KeyByURI(ctx context.Context, p Provider, uri string) (KeyRef, error) {
	kid, version, err := ParseKeyQuery(uri)
	if err != nil {
		return KeyRef{}, err
	}
	if kid != "" {
		return p.GetKey(ctx, kid, version)
	}
	if r, ok := p.(Resolving); ok {
		return r.KeyByURI(ctx, uri)
	}
	return KeyRef{}, Invalidf("URI names no key: want ?kid=KID, with &version=N for one version")
}

// ParseKeyQuery returns the query attributes kid and version of a store URI; an empty kid if there is none.
func ParseKeyQuery(uri string) (kid string, version int, err error) {
	_, query, _ := strings.Cut(uri, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", 0, Invalidf("query of the store URI: want attribute=value pairs, percent-encoded")
	}
	kid = values.Get("kid")
	if kid == "" {
		return "", 0, nil
	}
	if err := ValidateKID(kid); err != nil {
		return "", 0, err
	}
	if v := values.Get("version"); v != "" {
		if version, err = strconv.Atoi(v); err != nil || version < 0 {
			return "", 0, Invalidf("version %.20q in the store URI: want a number of 1 or more, or 0 for the latest", v)
		}
	}
	return kid, version, nil
}

func joinClose(err error, p Provider) error {
	if cerr := p.Close(); cerr != nil {
		return fmt.Errorf("%w (and close: %w)", err, cerr)
	}
	return err
}
