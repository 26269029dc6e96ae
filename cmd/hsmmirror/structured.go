package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// printJSON writes v in the form that --output asks for, other than a table: JSON on one line, or the same as YAML.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if a.options.output == outputYAML {
		if b, err = toYAML(b); err != nil {
			return err
		}
		_, err = a.out.Write(escape(b, yamlEscape))
		return err
	}
	_, err = a.out.Write(append(escape(b, jsonEscape), '\n'))
	return err
}

// escape replaces what a terminal would not print as it is, such as the marks that turn the direction of text. In JSON it can
// stand in strings only, and toYAML takes care of YAML.
func escape(text []byte, by func(rune) string) []byte {
	if bytes.IndexFunc(text, hidden) < 0 {
		return text
	}
	var out []byte
	for _, r := range string(text) {
		if hidden(r) {
			out = append(out, by(r)...)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// jsonEscape writes a rune as RFC 8259 section 7 does.
func jsonEscape(r rune) string {
	var s string
	for _, unit := range utf16.AppendRune(nil, r) {
		s += fmt.Sprintf(`\u%04x`, unit)
	}
	return s
}

// yamlEscape writes a rune as YAML 1.2 section 5.7 does.
func yamlEscape(r rune) string { return fmt.Sprintf(`\U%08X`, r) }

func hidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// toYAML turns JSON into YAML with the same members in the same order. JSON is YAML, so it only has to be written in another style.
func toYAML(text []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	plain(&doc)
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// plain drops the styles of JSON where every reader of YAML, those of 1.1 too, takes what is left for the same text.
func plain(n *yaml.Node) {
	quoted := n.Kind == yaml.ScalarNode && n.Tag == "!!str" && !strings.Contains(n.Value, "\n") && !(unquoted.MatchString(n.Value) && !words[strings.ToLower(n.Value)])
	n.Style = 0
	if quoted || strings.ContainsFunc(n.Value, hidden) {
		n.Style = yaml.DoubleQuotedStyle // the only one with escapes
	}
	for _, child := range n.Content {
		plain(child)
	}
}

var (
	unquoted = regexp.MustCompile(`^[A-Za-z/_]([A-Za-z0-9 _/.+-]*[A-Za-z0-9_])?$`)
	// words are what YAML 1.1 takes for something else than text.
	words = map[string]bool{"y": true, "n": true, "yes": true, "no": true, "on": true, "off": true, "true": true, "false": true, "null": true}
)
