package provider_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

const pin = "correct horse battery"

// pinForms are the ways in which the PIN could show: as text, quoted or not, and as numbers.
func pinForms() []string {
	var forms []string
	for _, verb := range []string{"%s", "%x", "%X", "% x", "%d", "%#v", "%o"} {
		forms = append(forms, strings.Trim(fmt.Sprintf(verb, []byte(pin)), "[]"))
	}
	b64, _ := json.Marshal([]byte(pin))
	return append(forms, strings.Trim(string(b64), `"=`))
}

func requireNoPIN(t *testing.T, text, how string) {
	t.Helper()
	for _, form := range pinForms() {
		require.NotContains(t, text, form, how)
	}
}

type embedded struct{ provider.Secret }

type hidden struct{ secret provider.Secret }

// inside puts a secret where a printer may find it.
func inside(s provider.Secret) map[string]any {
	return map[string]any{
		"by itself":            s,
		"behind a pointer":     &s,
		"in an exported field": struct{ PIN provider.Secret }{s},
		"in a hidden field":    struct{ pin provider.Secret }{s},
		"in a hidden any":      struct{ pin any }{s},
		"behind a hidden pointer": struct {
			pin *provider.Secret
		}{&s},
		"in a hidden struct":       struct{ h hidden }{hidden{s}},
		"embedded":                 embedded{s},
		"embedded in a hidden any": struct{ e any }{&embedded{s}},
		"in a slice":               []provider.Secret{s},
		"in a hidden slice":        struct{ pins []provider.Secret }{[]provider.Secret{s}},
		"in a map":                 map[string]provider.Secret{"pin": s},
		"in a hidden map":          struct{ pins map[string]any }{map[string]any{"pin": s}},
		"as a key of a map":        map[provider.Secret]int{s: 1},
		"in key material":          provider.KeyMaterial{Private: s},
		"in hidden key material":   struct{ m any }{provider.KeyMaterial{Private: s}},
		"in parsed material":       provider.ParsedMaterial{Symmetric: s},
	}
}

func TestSecretShowsInNothingThatFmtPrints(t *testing.T) {
	for place, value := range inside(provider.NewSecret([]byte(pin))) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%e", "%t", "%p", "%T", "%w", "%z", "%10.3s"} {
			requireNoPIN(t, fmt.Sprintf(verb, value), place+" "+verb)
		}
		requireNoPIN(t, fmt.Sprint(value), place)
		requireNoPIN(t, fmt.Sprintln(value), place)
		requireNoPIN(t, fmt.Errorf("open: %v: %w", value, errors.New("refused")).Error(), place)
		var out bytes.Buffer
		log.New(&out, "", 0).Print(value)
		requireNoPIN(t, out.String(), place)
	}
}

func TestSecretShowsInNoEncoding(t *testing.T) {
	gob.Register(provider.Secret{})
	for place, value := range inside(provider.NewSecret([]byte(pin))) {
		encode := map[string]func(*bytes.Buffer) error{
			"json": func(b *bytes.Buffer) error { return json.NewEncoder(b).Encode(value) },
			"xml":  func(b *bytes.Buffer) error { return xml.NewEncoder(b).Encode(value) },
			"gob":  func(b *bytes.Buffer) error { return gob.NewEncoder(b).Encode(value) },
		}
		for name, f := range encode {
			var out bytes.Buffer
			if err := f(&out); err != nil { // an encoder may refuse the place, and must not repeat the secret either
				requireNoPIN(t, err.Error(), place+" "+name)
			}
			requireNoPIN(t, out.String(), place+" "+name)
		}
	}
}

func TestSecretShowsInNoLog(t *testing.T) {
	for place, value := range inside(provider.NewSecret([]byte(pin))) {
		var text, jsonText bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&jsonText, nil)} {
			l := slog.New(h).With("with", value)
			l.Error("login refused", "value", value, slog.Group("group", "value", value))
		}
		requireNoPIN(t, text.String(), place)
		requireNoPIN(t, jsonText.String(), place)
	}
}

func TestSecretPrintsAsRedacted(t *testing.T) {
	s := provider.NewSecret([]byte(pin))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, s))
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, provider.Secret{}), "nor does it tell that there is none")
	}
	text, err := json.Marshal(map[string]any{"pin": s})
	require.NoError(t, err)
	require.JSONEq(t, `{"pin":"[redacted]"}`, string(text))
	b, err := s.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, "[redacted]", string(b))
	require.Equal(t, "[redacted]", s.LogValue().String())
	require.Equal(t, "[redacted]", s.String())
	require.Equal(t, "[redacted]", s.GoString())
}

func TestSecretHoldsACopy(t *testing.T) {
	b := []byte(pin)
	s := provider.NewSecret(b)
	clear(b)
	require.Equal(t, pin, string(s.Expose()))
	require.False(t, s.Empty())
}

func TestWipeReachesEveryCopy(t *testing.T) {
	s := provider.NewSecret([]byte(pin))
	other, exposed := s, s.Expose()
	s.Wipe()
	require.True(t, other.Empty())
	require.Nil(t, other.Expose())
	require.Equal(t, make([]byte, len(pin)), exposed, "the bytes themselves are gone")
	s.Wipe() // again is no harm
}

func TestZeroSecretIsEmpty(t *testing.T) {
	var s provider.Secret
	require.True(t, s.Empty())
	require.Nil(t, s.Expose())
	s.Wipe()
	require.True(t, provider.NewSecret(nil).Empty())
}
