package p11uri

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// section is the path or the query of a URI (RFC 7512 section 2.3).
type section struct {
	name       string
	separator  string
	bare       string // reserved characters that stand for themselves in a value
	attributes []attribute
	vendors    bool // attributes of vendors are kept
}

// Characters that are reserved in URIs and mean nothing in a PKCS#11 URI: pk11-res-avail.
const reservedAvailable = ":[]@!$'()*+,="

var (
	inPath  = section{"path", ";", reservedAvailable + "&", pathAttributes, false}
	inQuery = section{"query", "&", reservedAvailable + "/?|", queryAttributes, true}
)

func (s section) parse(u *URI, text string) error {
	if text == "" {
		return nil
	}
	seen := map[string]bool{}
	for i, part := range strings.Split(text, s.separator) {
		name, value, ok := strings.Cut(part, "=")
		// A vendor's attribute is named by its place only: it may be the piece of a PIN in which an & was not encoded.
		place := fmt.Sprintf("attribute %d of the %s", i+1, s.name)
		if !ok || !isName(name) {
			return fmt.Errorf("%s: want name=value", place)
		}
		a, known := s.find(name)
		switch {
		case known:
			place = name
		case !s.vendors:
			return fmt.Errorf("%s: %.40q is not known: want some of %s", place, name, s.names())
		case isTaken(name):
			return fmt.Errorf("%s: a vendor's attribute must not have the name of one of RFC 7512, in either case", place)
		}
		if seen[name] {
			return fmt.Errorf("%s: it is there twice", place)
		}
		seen[name] = true
		if err := s.set(u, a, value); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	return nil
}

func (s section) set(u *URI, a attribute, value string) error {
	decoded, err := decode(value, s.bare)
	defer clear(decoded) // it may be a PIN
	if err != nil {
		return err
	}
	return a.set(u, decoded)
}

// find returns the attribute of the given name; that of a vendor if there is none.
func (s section) find(name string) (a attribute, known bool) {
	for _, a := range s.attributes {
		if a.name == name {
			return a, true
		}
	}
	return vendorAttribute(name), false
}

// isTaken tells whether an attribute of either section has the name, but for upper and lower case.
func isTaken(name string) bool {
	return slices.ContainsFunc(slices.Concat(pathAttributes, queryAttributes), func(a attribute) bool { return strings.EqualFold(a.name, name) })
}

func (s section) names() string {
	names := make([]string, len(s.attributes))
	for i, a := range s.attributes {
		names[i] = a.name
	}
	return strings.Join(names, ", ")
}

func (s section) format(u *URI) string {
	attributes := s.attributes
	if s.vendors {
		attributes = slices.Clone(attributes)
		for _, name := range slices.Sorted(maps.Keys(u.Vendor)) {
			attributes = append(attributes, vendorAttribute(name))
		}
	}
	var parts []string
	for _, a := range attributes {
		value, ok := a.get(u)
		if !ok {
			continue
		}
		bare := s.bare
		if a.binary {
			bare = ""
		}
		parts = append(parts, a.name+"="+encode(value, bare, a.binary))
	}
	return strings.Join(parts, s.separator)
}

// isName tells whether s can be the name of an attribute: pk11-v-attr-nm-char.
func isName(s string) bool {
	for _, c := range []byte(s) {
		if !isLetterOrDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isUnreserved is "unreserved" of RFC 3986.
func isUnreserved(c byte) bool { return isLetterOrDigit(c) || strings.IndexByte("-._~", c) >= 0 }

// decode returns the bytes of a value in which only unreserved characters and those of bare stand for themselves.
func decode(value, bare string) ([]byte, error) {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '%':
			if i+2 >= len(value) {
				return out, errors.New("it ends within a percent-encoded byte")
			}
			high, low := hexDigit(value[i+1]), hexDigit(value[i+2])
			if high < 0 || low < 0 {
				return out, fmt.Errorf("character %d: want two hexadecimal digits after a percent sign", i+1)
			}
			out = append(out, byte(high<<4|low))
			i += 2
		case isUnreserved(c) || strings.IndexByte(bare, c) >= 0:
			out = append(out, c)
		default:
			return out, fmt.Errorf("character %d must be percent-encoded", i+1)
		}
	}
	return out, nil
}

// encode is the inverse of decode; with all, every byte is percent-encoded.
func encode(value, bare string, all bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(value) {
		if !all && (isUnreserved(c) || strings.IndexByte(bare, c) >= 0) {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
