package softfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// decodeStrict is json.Unmarshal of one object into the struct that v points to, without what encoding/json forgives: it
// refuses invalid UTF-8, null, a member twice at any depth, and a member whose name is not exactly that of a field.
func decodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	// Unmarshal bounds the depth of nesting, which checkValue relies on.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return jsonError(err)
	}
	if err := checkValue(json.NewDecoder(bytes.NewReader(data))); err != nil {
		return err
	}
	known := memberNames(reflect.TypeOf(v).Elem())
	for name := range members {
		if !known[name] {
			return fmt.Errorf("unknown member %.40q", name)
		}
	}
	return jsonError(json.Unmarshal(data, v))
}

// checkValue reads one value and refuses null and members that stand twice in one object.
func checkValue(dec *json.Decoder) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case nil:
		return errors.New("null")
	case json.Delim('{'):
		return checkMembers(dec)
	case json.Delim('['):
		for dec.More() {
			if err := checkValue(dec); err != nil {
				return err
			}
		}
		_, err = dec.Token()
	}
	return err
}

func checkMembers(dec *json.Decoder) error {
	seen := map[json.Token]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("member %.40q twice", name)
		}
		seen[name] = true
		if err := checkValue(dec); err != nil {
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
			return fmt.Errorf("JSON %s in the wrong place", wrong.Value)
		}
		return fmt.Errorf("member %.40q: JSON %s is of the wrong type", wrong.Field, wrong.Value)
	}
	return err
}
