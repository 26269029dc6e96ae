package p11uri

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// attribute is one attribute of a URI. set is given a value that is wiped afterwards; its errors quote nothing of a PIN.
type attribute struct {
	name   string
	set    func(u *URI, value []byte) error
	get    func(u *URI) (value string, present bool)
	binary bool // encode every byte
}

// The attributes in the order of RFC 7512 section 2.3.
var (
	pathAttributes = []attribute{
		text("token", func(u *URI) **string { return &u.Token }),
		text("manufacturer", func(u *URI) **string { return &u.Manufacturer }),
		text("serial", func(u *URI) **string { return &u.Serial }),
		text("model", func(u *URI) **string { return &u.Model }),
		text("library-manufacturer", func(u *URI) **string { return &u.LibraryManufacturer }),
		{name: "library-version", set: setLibraryVersion, get: getLibraryVersion},
		text("library-description", func(u *URI) **string { return &u.LibraryDescription }),
		text("object", func(u *URI) **string { return &u.Object }),
		{name: "type", set: setType, get: func(u *URI) (string, bool) { return string(u.Type), u.Type != "" }},
		{name: "id", set: setID, get: func(u *URI) (string, bool) { return string(u.ID), u.ID != nil }, binary: true},
		text("slot-manufacturer", func(u *URI) **string { return &u.SlotManufacturer }),
		text("slot-description", func(u *URI) **string { return &u.SlotDescription }),
		{name: "slot-id", set: setSlotID, get: getSlotID},
	}
	queryAttributes = []attribute{
		{name: "pin-source", set: setPINSource, get: func(u *URI) (string, bool) { return u.PINSource, u.PINSource != "" }},
		{name: "pin-value", set: setPINValue, get: func(*URI) (string, bool) { return "", false }},
		location("module-name", func(u *URI) *string { return &u.ModuleName }),
		location("module-path", func(u *URI) *string { return &u.ModulePath }),
	}
)

// text is an attribute that may be there and empty.
func text(name string, field func(u *URI) **string) attribute {
	return attribute{
		name: name,
		set: func(u *URI, value []byte) error {
			s := string(value)
			*field(u) = &s
			return nil
		},
		get: func(u *URI) (string, bool) {
			if s := *field(u); s != nil {
				return *s, true
			}
			return "", false
		},
	}
}

// location is an attribute that says where something is.
func location(name string, field func(u *URI) *string) attribute {
	return attribute{
		name: name,
		set: func(u *URI, value []byte) error {
			*field(u) = string(value)
			return checkLocation(value)
		},
		get: func(u *URI) (string, bool) { return *field(u), *field(u) != "" },
	}
}

func vendorAttribute(name string) attribute {
	return attribute{
		name: name,
		set: func(u *URI, value []byte) error {
			if u.Vendor == nil {
				u.Vendor = map[string]string{}
			}
			u.Vendor[name] = string(value)
			return nil
		},
		get: func(u *URI) (string, bool) {
			value, ok := u.Vendor[name]
			return value, ok
		},
	}
}

func checkLocation(value []byte) error {
	if len(value) == 0 || bytes.IndexByte(value, 0) >= 0 {
		return errors.New("want it neither empty nor with a NUL in it")
	}
	return nil
}

// setPINSource refuses the form "|command" of RFC 7512 section 2.4: whoever can write a URI could run a program.
func setPINSource(u *URI, value []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(value), []byte("|")) {
		return errors.New("it is a command, and commands are not run")
	}
	u.PINSource = string(value)
	return checkLocation(value)
}

func setPINValue(u *URI, value []byte) error {
	if len(value) == 0 {
		return errors.New("want it not empty")
	}
	u.PINValue = provider.NewSecret(value)
	return nil
}

func setType(u *URI, value []byte) error {
	u.Type = Type(value)
	if !slices.Contains([]Type{Public, Private, Cert, SecretKey, Data}, u.Type) {
		return fmt.Errorf("%.40q: want public, private, cert, secret-key or data", value)
	}
	return nil
}

func setID(u *URI, value []byte) error {
	u.ID = append([]byte{}, value...) // not nil: it is there
	return nil
}

func setSlotID(u *URI, value []byte) error {
	n, err := number(string(value), strconv.IntSize)
	if err != nil {
		return err
	}
	id := uint(n)
	u.SlotID = &id
	return nil
}

func getSlotID(u *URI) (string, bool) {
	if u.SlotID == nil {
		return "", false
	}
	return strconv.FormatUint(uint64(*u.SlotID), 10), true
}

// setLibraryVersion reads "M.N", or "M" for "M.0".
func setLibraryVersion(u *URI, value []byte) error {
	major, minor, dotted := strings.Cut(string(value), ".")
	if !dotted {
		minor = "0"
	}
	m, err := number(major, 8)
	if err != nil {
		return err
	}
	n, err := number(minor, 8)
	if err != nil {
		return err
	}
	u.LibraryVersion = &Version{uint8(m), uint8(n)}
	return nil
}

func getLibraryVersion(u *URI) (string, bool) {
	if u.LibraryVersion == nil {
		return "", false
	}
	return fmt.Sprintf("%d.%d", u.LibraryVersion.Major, u.LibraryVersion.Minor), true
}

func number(s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%.40q: want a decimal number of at most %d bits", s, bits)
	}
	return n, nil
}
