package softfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"unicode/utf8"
)

// decodeStrict is json.Unmarshal of one object into the struct that v points to, without what encoding/json forgives: it
// refuses invalid UTF-8, null, a member twice at any depth, and a member whose name is not exactly that of a field. After
// an error *v holds anything.
func decodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	// This comes first: it bounds the depth of nesting, on which checkValue relies.
	if err := json.Unmarshal(data, v); err != nil {
		return jsonError(err)
	}
	return checkValue(json.NewDecoder(bytes.NewReader(data)), memberNames(reflect.TypeOf(v).Elem()))
}

// checkValue reads one value and refuses null and members that stand twice in one object. known, if it is not nil, are
// the names that an object's members may have.
func checkValue(dec *json.Decoder, known map[string]bool) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case nil:
		return errors.New("null")
	case json.Delim('{'):
		return checkMembers(dec, known)
	case json.Delim('['):
		for dec.More() {
			if err := checkValue(dec, nil); err != nil {
				return err
			}
		}
		_, err = dec.Token()
	}
	return err
}

func checkMembers(dec *json.Decoder, known map[string]bool) error {
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		switch {
		case seen[name]:
			return fmt.Errorf("member %.40q twice", name)
		case known != nil && !known[name]:
			return fmt.Errorf("unknown member %.40q", name)
		}
		seen[name] = true
		if err := checkValue(dec, nil); err != nil {
			return fmt.Errorf("member %.40q: %w", name, err)
		}
	}
	_, err := dec.Token()
	return err
}

// memberNames returns the names that encoding/json gives the fields of a struct type.
func memberNames(t reflect.Type) map[string]bool {
	names := make(map[string]bool, t.NumField())
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			maps.Copy(names, memberNames(f.Type))
			continue
		}
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[name] = true
	}
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
