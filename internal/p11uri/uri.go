// Package p11uri reads and writes PKCS#11 URIs (RFC 7512), strictly: what it can't honour it refuses.
//
// Refused are a repeated attribute, an unknown attribute in the path (it would select something else than was meant), a
// character that must be percent-encoded, a pin-source that is a command, and a pin-value unless the caller asks for it.
// Unknown attributes of the query are kept for others to read.
//
// No error repeats the URI, nor any part of a PIN.
package p11uri

import (
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Scheme is the scheme of PKCS#11 URIs, without the colon.
const Scheme = "pkcs11"

// URI is a PKCS#11 URI with its values decoded. What is nil or empty is absent, with one exception: a pointer to an empty
// string, or an ID that is not nil, is there, and selects what has an empty value (RFC 7512 section 2.3).
type URI struct {
	Token, Manufacturer, Serial, Model *string
	LibraryManufacturer                *string
	LibraryVersion                     *Version
	LibraryDescription                 *string
	Object                             *string // CKA_LABEL
	Type                               Type
	ID                                 []byte // CKA_ID
	SlotManufacturer, SlotDescription  *string
	SlotID                             *uint

	PINSource  string
	PINValue   provider.Secret
	ModuleName string
	ModulePath string
	Vendor     map[string]string // attributes of the query that RFC 7512 does not define
}

// Version is the version of a library.
type Version struct{ Major, Minor uint8 }

// Type is a class of objects.
type Type string

// The types.
const (
	Public    Type = "public"
	Private   Type = "private"
	Cert      Type = "cert"
	SecretKey Type = "secret-key"
	Data      Type = "data"
)

// Option changes what Parse takes.
type Option int

// AllowPINValue makes Parse take a URI that has a PIN in it. URIs are seen in lists of processes, logs and shell histories.
const AllowPINValue Option = 1

// Parse reads a URI. [provider.ErrInvalid] if it breaks a rule of RFC 7512 or of this package.
func Parse(uri string, options ...Option) (_ URI, err error) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || !strings.EqualFold(scheme, Scheme) {
		return URI{}, provider.Invalidf("PKCS#11 URI: want it to begin with %s:", Scheme)
	}
	var u URI
	defer func() {
		if err != nil {
			u.PINValue.Wipe()
		}
	}()
	path, query, _ := strings.Cut(rest, "?")
	if err := inPath.parse(&u, path); err != nil {
		return URI{}, provider.Invalidf("PKCS#11 URI: %w", err)
	}
	if err := inQuery.parse(&u, query); err != nil {
		return URI{}, provider.Invalidf("PKCS#11 URI: %w", err)
	}
	if err := u.checkPIN(options); err != nil {
		return URI{}, err
	}
	return u, nil
}

func (u URI) checkPIN(options []Option) error {
	if u.PINValue.Empty() {
		return nil
	}
	if u.PINSource != "" {
		return provider.Invalidf("PKCS#11 URI: want pin-source or pin-value, not both (RFC 7512 section 2.4)")
	}
	for _, o := range options {
		if o == AllowPINValue {
			return nil
		}
	}
	return provider.Invalidf("PKCS#11 URI: it has a pin-value, and everyone can see a URI: want pin-source")
}

// Format writes the URI: its attributes in the order of RFC 7512 section 2.3, those of vendors last and by name, encoded only
// where that is demanded, the ID wholly. A PIN is left out. Without one, Parse returns the same URI again.
func (u URI) Format() string {
	text := Scheme + ":" + inPath.format(&u)
	if query := inQuery.format(&u); query != "" {
		text += "?" + query
	}
	return text
}
