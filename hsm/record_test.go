package hsm

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// fullRecord has a value in every field.
func fullRecord() record {
	created := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return record{
		Format: recordFormat, Stage: live, KID: "payments", Version: 3, ID: "00ff10",
		Alg: provider.ECDSAP256SHA256, Bits: 256, Uses: []provider.KeyUse{provider.UseSign}, Export: provider.ExportPublicOnly,
		Label: "a <label> with ünicode", Tags: map[string]string{"team": "a", "empty": ""},
		Created: created, ActiveFrom: created.Add(10 * time.Minute), RetireAfter: 86400,
		Imported: true, PublicOnly: true, Fingerprint: "print",
	}
}

func TestRecordComesBackWhole(t *testing.T) {
	want := fullRecord()
	for i := range reflect.TypeFor[record]().NumField() {
		require.False(t, reflect.ValueOf(want).Field(i).IsZero(), "field %s", reflect.TypeFor[record]().Field(i).Name)
	}
	text, err := want.marshal()
	require.NoError(t, err)
	got, err := parseRecord(text)
	require.NoError(t, err)
	require.Equal(t, want, *got)
}

// A version is not retired earlier than was asked for.
func TestTimesAreRoundedUpToSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, 2*time.Second - 1: 2, time.Hour: 3600,
		math.MaxInt64: maxRetireAfter, // a second more is no time.Duration
	} {
		require.Equal(t, want, wholeSeconds(d), "%v", d)
	}
	r := fullRecord()
	r.RetireAfter = wholeSeconds(math.MaxInt64)
	text, err := r.marshal()
	require.NoError(t, err)
	_, err = parseRecord(text)
	require.NoError(t, err)
}

// TestRecordFormat holds the text still: tokens keep it for years.
func TestRecordFormat(t *testing.T) {
	text, err := fullRecord().marshal()
	require.NoError(t, err)
	require.Equal(t, `{"format":1,"stage":"live","kid":"payments","version":3,"id":"00ff10","alg":"ECDSA_P256_SHA256","bits":256,"uses":["sign"],`+
		`"export_policy":"public_only","label":"a \u003clabel\u003e with ünicode","tags":{"empty":"","team":"a"},"created":"2026-03-04T05:06:07Z",`+
		`"active_from":"2026-03-04T05:16:07Z","retire_after":86400,"imported":true,"public_only":true,"fingerprint":"print"}`, string(text))
}

func TestParseRecordRefuses(t *testing.T) {
	tests := []struct {
		name   string
		member string // member of fullRecord that is replaced; empty: value is the whole text
		value  string
		want   error
		text   string
	}{
		{"a newer format", "format", "2", provider.ErrUnsupported, "record of format 2: want 1"},
		{"a newer format with members that we don't know", "", `{"format":7,"shape":"round"}`, provider.ErrUnsupported, "record of format 7: want 1"},
		{"a newer format with members of other types", "", `{"format":7,"kid":["a"]}`, provider.ErrUnsupported, "record of format 7: want 1"},
		{"no format", "format", "0", provider.ErrTampered, "record of format 0: want 1"},
		{"nothing", "", "", provider.ErrTampered, "record: EOF"},
		{"no object", "", "null", provider.ErrTampered, "record of format 0"},
		{"half a record", "", `{"format":1,"stage":"live"`, provider.ErrTampered, "unexpected EOF"},
		{"an unknown member", "", `{"format":1,"shape":"round"}`, provider.ErrTampered, `unknown field "shape"`},
		{"something after the record", "", `{"format":1}{}`, provider.ErrTampered, "nothing after it"},
		{"a number in place of a string", "kid", "7", provider.ErrTampered, "cannot unmarshal number"},
		{"a string in place of a number", "version", `"3"`, provider.ErrTampered, "cannot unmarshal string"},
		{"a fraction of a version", "version", "1.5", provider.ErrTampered, "cannot unmarshal number 1.5"},
		{"a time that is none", "created", `"yesterday"`, provider.ErrTampered, "record: "},
		{"a time of another zone", "created", `"2026-03-04T05:06:07+01:00"`, provider.ErrTampered, "want times in UTC"},
		{"a time of another zone", "active_from", `"2026-03-04T05:06:07-01:00"`, provider.ErrTampered, "want times in UTC"},
		{"a stage that we don't know", "stage", `"retired"`, provider.ErrTampered, `stage "retired": want one of [claimed live destroyed]`},
		{"an empty kid", "kid", `""`, provider.ErrTampered, `kid ""`},
		{"a kid that climbs", "kid", `"../a"`, provider.ErrTampered, `kid "../a"`},
		{"version 0", "version", "0", provider.ErrTampered, "version 0"},
		{"a negative version", "version", "-1", provider.ErrTampered, "version -1"},
		{"no id", "id", `""`, provider.ErrTampered, `id ""`},
		{"an id that is not hexadecimal", "id", `"0g"`, provider.ErrTampered, `id "0g"`},
		{"an id in capitals", "id", `"0A"`, provider.ErrTampered, `id "0A"`},
		{"an unknown algorithm", "alg", `"ROT13"`, provider.ErrTampered, `unknown algorithm "ROT13"`},
		{"a size that the algorithm does not have", "bits", "255", provider.ErrTampered, "255 bits"},
		{"a use that the algorithm does not have", "uses", `["decrypt"]`, provider.ErrTampered, `use "decrypt"`},
		{"an unknown policy", "export_policy", `"sometimes"`, provider.ErrTampered, `export policy "sometimes"`},
		{"a label that is too long", "label", quoted(strings.Repeat("l", provider.MaxLabel+1)), provider.ErrTampered, "label of 257 bytes"},
		{"a negative retirement", "retire_after", "-1", provider.ErrTampered, "retire_after -1"},
		{"a retirement that no duration holds", "retire_after", "9223372037", provider.ErrTampered, "retire_after 9223372037"},
		{"a live pair without its fingerprint", "fingerprint", `""`, provider.ErrTampered, "without its fingerprint"},
		{"too many bytes", "", strings.Repeat(" ", maxRecord+1), provider.ErrTampered, "record of 65537 bytes: want at most 65536"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.value
			if tt.member != "" {
				text = replaced(t, tt.member, tt.value)
			}
			r, err := parseRecord([]byte(text))
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.text)
			require.Less(t, len(err.Error()), 400)
			require.Nil(t, r)
		})
	}
}

// replaced returns fullRecord as JSON with another value of one member.
func replaced(t *testing.T, member, value string) string {
	t.Helper()
	text, err := fullRecord().marshal()
	require.NoError(t, err)
	members := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal(text, &members))
	require.Contains(t, members, member)
	members[member] = json.RawMessage(value)
	text, err = json.Marshal(members)
	require.NoError(t, err)
	return string(text)
}

func quoted(s string) string { return `"` + s + `"` }

func TestParseRecordTakes(t *testing.T) {
	tests := []struct {
		name   string
		change func(*record)
	}{
		{"a claim of a pair, which has no fingerprint yet", func(r *record) { r.Stage, r.Fingerprint = claimed, "" }},
		{"the tombstone of a pair", func(r *record) { r.Stage, r.Fingerprint = destroyed, "" }},
		{"a secret key, which never has a fingerprint", func(r *record) {
			r.Alg, r.Uses, r.Fingerprint = provider.AES256GCM, provider.AES256GCM.Uses(), ""
		}},
		{"a key whose size the token does not tell", func(r *record) { r.Bits = 0 }},
		{"no label and no tags", func(r *record) { r.Label, r.Tags = "", nil }},
		{"as much as a spec may hold, in bytes that JSON escapes", func(r *record) {
			r.KID, r.Label, r.Tags = strings.Repeat("k", provider.MaxKID), strings.Repeat("\x01", provider.MaxLabel), map[string]string{}
			for i := range provider.MaxTags {
				r.Tags[fmt.Sprintf("%02d", i)+strings.Repeat("<", provider.MaxTagKey-2)] = strings.Repeat("\x01", provider.MaxTagValue)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := fullRecord()
			tt.change(&want)
			_, err := want.spec().Normalize()
			require.NoError(t, err)
			text, err := want.marshal()
			require.NoError(t, err)
			got, err := parseRecord(text)
			require.NoError(t, err)
			require.Equal(t, want, *got)
		})
	}
}

// FuzzParseRecord looks for a panic, and for a record that changes when it is written again.
func FuzzParseRecord(f *testing.F) {
	text, err := fullRecord().marshal()
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":1,"stage":"claimed","kid":"k","version":1,"id":"00","alg":"ED25519","created":"2026-01-01T00:00:00Z","active_from":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			require.Nil(t, r)
			return
		}
		if len(r.Tags) == 0 {
			r.Tags = nil // {} and nothing are one
		}
		text, err := r.marshal()
		require.NoError(t, err)
		again, err := parseRecord(text)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
