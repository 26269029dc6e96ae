package softfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
)

// decodeStrict is json.Unmarshal of one object into the struct that v points to, without what encoding/json forgives: it
// refuses invalid UTF-8, null, a member twice at any depth, and a member whose name is not exactly that of a field. After
// an error *v holds anything.
func decodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	// This comes first: it bounds the depth of nesting, on which the walker relies.
	if err := json.Unmarshal(data, v); err != nil {
		return jsonError(err)
	}
	return (&walker{data}).value(memberNames(reflect.TypeOf(v).Elem()))
}

// walker reads JSON that is known to be valid, and nested no deeper than encoding/json allows. It takes a fraction
// of the time of a json.Decoder's tokens, which counts when a large store is opened.
type walker struct{ rest []byte }

// value reads one value and refuses null and members that stand twice in one object. known, if it is not nil, are the
// names that an object's members may have.
func (w *walker) value(known map[string]bool) error {
	switch w.next() {
	case 'n':
		return errors.New("null")
	case '{':
		return w.members(known)
	case '[':
		for w.skip(1); w.next() != ']'; {
			if err := w.value(nil); err != nil {
				return err
			}
		}
		w.skip(1)
	case '"':
		w.text()
	default: // a number, true or false
		w.skip(len(w.rest) - len(bytes.TrimLeft(w.rest, "+-.0123456789Eaeflrstu")))
	}
	return nil
}

func (w *walker) members(known map[string]bool) error {
	seen := map[string]bool{}
	for w.skip(1); w.next() != '}'; {
		name, err := w.name()
		switch {
		case err != nil:
			return err
		case seen[name]:
			return fmt.Errorf("member %.40q twice", name)
		case known != nil && !known[name]:
			return fmt.Errorf("unknown member %.40q", name)
		}
		seen[name] = true
		if err := w.value(nil); err != nil {
			return fmt.Errorf("member %.40q: %w", name, err)
		}
	}
	w.skip(1)
	return nil
}

// next returns the first byte of what comes next, behind spaces, commas and colons.
func (w *walker) next() byte {
	w.rest = bytes.TrimLeft(w.rest, " \t\r\n,:")
	return w.rest[0]
}

func (w *walker) skip(n int) { w.rest = w.rest[n:] }

// text reads a string as it is written, with its quotes.
func (w *walker) text() []byte {
	end := 1
	for w.rest[end] != '"' {
		if w.rest[end] == '\\' {
			end++
		}
		end++
	}
	text := w.rest[:end+1]
	w.skip(end + 1)
	return text
}

// name reads a member's name.
func (w *walker) name() (name string, err error) {
	text := w.text()
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), nil
	}
	err = json.Unmarshal(text, &name)
	return name, err
}

// namesOf keeps what memberNames found: a quarter of the time of reading a record goes into it otherwise.
var namesOf sync.Map // of reflect.Type to map[string]bool

// memberNames returns the names that encoding/json gives the fields of a struct type. The map is not to be changed.
func memberNames(t reflect.Type) map[string]bool {
	if known, ok := namesOf.Load(t); ok {
		return known.(map[string]bool)
	}
	names := make(map[string]bool, t.NumField())
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			maps.Copy(names, memberNames(f.Type))
			continue
		}
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[name] = true
	}
	namesOf.Store(t, names)
	return names
}

// jsonError says what is wrong without Go's names of types.
func jsonError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field == "" {
			return fmt.Errorf("JSON %.40s in the wrong place", wrong.Value)
		}
		return fmt.Errorf("member %.40q: JSON %.40s is of the wrong type", wrong.Field, wrong.Value)
	}
	return err
}
