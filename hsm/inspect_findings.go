package hsm

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Finding is something about an object that its owner should know. Code is stable and made for programs; Text is for people.
type Finding struct {
	Code string
	Text string
}

// The codes of findings.
const (
	FindExtractable   = "extractable"         // it may leave the token, wrapped under another key
	FindNotSensitive  = "not_sensitive"       // its value can be read in plain by who logs in
	FindWasExposed    = "was_exposed"         // it was extractable, or not sensitive, once
	FindImported      = "imported"            // it was made elsewhere, so there may be copies
	FindAlwaysAuth    = "always_authenticate" // each use wants the PIN again
	FindExpired       = "expired"
	FindNotYetValid   = "not_yet_valid"
	FindDuplicateID   = "duplicate_id" // tools that select by CKA_ID may take either
	FindDuplicateName = "duplicate_label"
	FindNoID          = "no_id"
	FindNoPublic      = "no_public_half"
	FindNoPrivate     = "no_private_half"
	FindKeyGone       = "key_gone"      // of a record of ours: the key that it describes is not there
	FindMismatch      = "halves_differ" // the objects of one CKA_ID are not of one pair
	FindWeak          = "weak"
	FindUndecodable   = "undecodable"
	FindUnsupported   = "unsupported" // sound perhaps, and of no use to us
	FindUnreadable    = "unreadable"
	FindHalf          = "half_done" // the rest of an operation of ours that was cut off
)

func (o *ObjectInfo) found(code, format string, args ...any) {
	o.Findings = append(o.Findings, Finding{code, fmt.Sprintf(format, args...)})
}

// findAll fills in the findings of all objects.
func findAll(t TokenObjects, now time.Time) {
	s := newSiblings(t.Objects)
	for i := range t.Objects {
		o := &t.Objects[i]
		if o.Status == StatusHalf {
			o.found(FindHalf, "the rest of an operation that was cut off")
		}
		if o.raw.isRecord() {
			s.findKey(o)
			continue // it is no key that anyone uses
		}
		o.findProtection()
		o.findSize()
		o.findDates(now)
		o.findContent()
		s.find(o, t.LoggedIn || !slices.Contains(t.Token.Flags, "LOGIN_REQUIRED"))
		if o.Problem != "" {
			o.found(FindUnreadable, "%s", o.Problem)
		}
		if len(o.Unreadable) > 0 {
			o.found(FindUnreadable, "the token lists attributes that it does not give: %s", strings.Join(o.Unreadable, ", "))
		}
	}
}

// findProtection looks at what a private or secret key says of its protection.
func (o *ObjectInfo) findProtection() {
	e := o.Evidence
	if e == nil {
		return
	}
	is := func(b *bool, want bool) bool { return b != nil && *b == want }
	if is(e.Extractable, true) {
		o.found(FindExtractable, "it may leave the token, wrapped under another key")
	}
	if is(e.Sensitive, false) {
		o.found(FindNotSensitive, "its value can be read in plain")
	}
	if is(e.NeverExtractable, false) && is(e.Extractable, false) || is(e.AlwaysSensitive, false) && is(e.Sensitive, true) {
		if is(e.Local, true) {
			o.found(FindWasExposed, "it was extractable or not sensitive once")
		}
	}
	if is(e.Local, false) && e.KeyGenMechanism == "" {
		o.found(FindImported, "it was made elsewhere, so there may be copies")
	}
	if o.Is("CKA_ALWAYS_AUTHENTICATE") {
		o.found(FindAlwaysAuth, "each use wants the PIN again")
	}
}

// weakBelow says which sizes in bits are too small for new signatures and ciphertexts today (NIST SP 800-131A rev. 2).
var weakBelow = map[string]int{
	"CKK_RSA": 2048, "CKK_DSA": 2048, "CKK_DH": 2048, "CKK_EC": 224, "CKK_AES": 128, "CKK_GENERIC_SECRET": 112,
	"CKK_DES": 1 << 16, "CKK_DES2": 1 << 16, "CKK_DES3": 1 << 16, "CKK_RC2": 1 << 16, "CKK_RC4": 1 << 16,
}

func (o *ObjectInfo) findSize() {
	least, known := weakBelow[o.KeyType]
	switch {
	case known && least == 1<<16:
		o.found(FindWeak, "%s is broken or withdrawn", strings.TrimPrefix(o.KeyType, "CKK_"))
	case known && o.Bits > 0 && o.Bits < least:
		o.found(FindWeak, "%d bits are too few: want %d or more", o.Bits, least)
	}
}

func (o *ObjectInfo) findDates(now time.Time) {
	today := now.UTC().Format(time.DateOnly)
	if start, ok := o.Attribute("CKA_START_DATE").(string); ok && start > today {
		o.found(FindNotYetValid, "its start date is %s", start)
	}
	if end, ok := o.Attribute("CKA_END_DATE").(string); ok && end < today {
		o.found(FindExpired, "its end date was %s", end)
	}
	cert, err := o.Certificate()
	switch {
	case cert == nil || err != nil:
	case now.After(cert.NotAfter):
		o.found(FindExpired, "the certificate expired on %s", cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		o.found(FindNotYetValid, "the certificate is valid from %s", cert.NotBefore.UTC().Format(time.DateOnly))
	}
}

// decodable are the types of public keys that we know how to read.
var decodable = []string{"CKK_RSA", "CKK_EC", "CKK_EC_EDWARDS", "CKK_EC_MONTGOMERY"}

// findContent reads what stands in the object as far as it is public.
func (o *ObjectInfo) findContent() {
	var err error
	switch {
	case o.Class == "CKO_CERTIFICATE":
		_, err = o.Certificate()
	case o.Class == "CKO_PUBLIC_KEY" && slices.Contains(decodable, o.KeyType):
		_, err = publicKey(o.raw)
	}
	switch {
	case err == nil:
	case errors.Is(err, provider.ErrUnsupported):
		o.found(FindUnsupported, "%s", strings.TrimPrefix(err.Error(), provider.ErrUnsupported.Error()+": "))
	default:
		o.found(FindUndecodable, "%s", strings.TrimPrefix(err.Error(), provider.ErrTampered.Error()+": "))
	}
}

// Certificate returns the X.509 certificate of a certificate object; nil if the object is none. An error if its CKA_VALUE is no
// X.509 certificate in DER.
func (o ObjectInfo) Certificate() (*x509.Certificate, error) {
	if o.Class != "CKO_CERTIFICATE" {
		return nil, nil
	}
	value, _ := o.Attribute("CKA_VALUE").([]byte)
	cert, err := x509.ParseCertificate(value)
	if err != nil {
		return nil, fmt.Errorf("CKA_VALUE of %d bytes is no X.509 certificate in DER", len(value))
	}
	return cert, nil
}
