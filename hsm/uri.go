package hsm

import (
	"context"
	"slices"

	"github.com/hsmmirror/hsmmirror/internal/p11uri"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/secretsource"
)

func init() {
	provider.Register(p11uri.Scheme, func(_ context.Context, uri string) (provider.Provider, error) {
		cfg, err := ConfigFromURI(uri)
		if err != nil {
			return nil, err
		}
		return New(cfg)
	})
}

const (
	// allowPINValue is the query attribute that must stand beside pin-value, with the value true.
	allowPINValue = "allow-pin-value"
	// initReserved is the query attribute for Config.InitArgs, named as p11-kit's setting for it.
	initReserved = "x-init-reserved"
	// PINPadSource is the pin-source that stands for Config.PINPad.
	PINPadSource = "pinpad"
)

// knownVendor are the query attributes beyond RFC 7512 that a URI may have.
var knownVendor = []string{allowPINValue, initReserved, "kid", "version"}

// ConfigFromURI reads an RFC 7512 URI, such as
//
//	pkcs11:token=payments;serial=0123?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/payments.pin
//
// The path attributes token, serial, manufacturer, model and slot-id select the token. object, id and type select a key
// ([Token.KeyByURI]) and are not looked at here, nor are the attributes kid and version of the query. x-init-reserved is
// Config.InitArgs. pin-source is as in package secretsource, or pinpad for Config.PINPad. pin-value is refused unless
// allow-pin-value=true stands beside it: URIs are seen by others. ErrInvalid for everything else, without any part of a PIN.
func ConfigFromURI(uri string) (Config, error) {
	u, err := parseURI(uri)
	if err != nil {
		return Config{}, err
	}
	cfg := Config{
		Module: u.ModulePath, InitArgs: u.Vendor[initReserved], Slot: u.SlotID,
		Label: value(u.Token), Serial: value(u.Serial), Manufacturer: value(u.Manufacturer), Model: value(u.Model),
	}
	for name := range u.Vendor {
		if !slices.Contains(knownVendor, name) {
			return Config{}, provider.Invalidf("PKCS#11 URI: an attribute of the query is unknown: want module-path, pin-source, x-init-reserved, kid or version")
		}
	}
	switch {
	case u.ModuleName != "" && cfg.Module == "":
		return Config{}, provider.Invalidf("PKCS#11 URI: module-name alone does not say where the module is: want module-path")
	case u.LibraryManufacturer != nil || u.LibraryDescription != nil || u.LibraryVersion != nil || u.SlotManufacturer != nil || u.SlotDescription != nil:
		return Config{}, provider.Invalidf("PKCS#11 URI: want the token selected by token, serial, manufacturer, model or slot-id, and the module by module-path")
	case !u.PINValue.Empty() && u.PINSource != "":
		u.PINValue.Wipe()
		return Config{}, provider.Invalidf("PKCS#11 URI: want pin-source or pin-value, not both")
	case !u.PINValue.Empty():
		pin := u.PINValue
		cfg.PIN = func(context.Context) (provider.Secret, error) { return provider.NewSecret(pin.Expose()), nil }
	case u.PINSource == PINPadSource:
		cfg.PINPad = true
	case u.PINSource != "":
		cfg.PIN, err = secretsource.Parse(u.PINSource)
	}
	return cfg, err
}

// parseURI parses a URI and takes a pin-value where the URI says so itself.
func parseURI(uri string) (p11uri.URI, error) {
	u, err := p11uri.Parse(uri, p11uri.AllowPINValue)
	if err != nil {
		return p11uri.URI{}, err
	}
	if !u.PINValue.Empty() && u.Vendor[allowPINValue] != "true" {
		u.PINValue.Wipe()
		return p11uri.URI{}, provider.Invalidf("PKCS#11 URI: it has a pin-value: want pin-source, or %s=true beside it", allowPINValue)
	}
	return u, nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
