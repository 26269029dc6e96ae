package softfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// formatVersion is the format of records and tombstones that this package writes, and the only one that it reads.
const formatVersion = 1

// encodeFile writes JSON for machines and people: indented, with a line end, and with <, > and & as they are.
func encodeFile(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, provider.Invalidf("%v", err)
	}
	return buf.Bytes(), nil
}

// checkFormat refuses a file of another format before anything else in it is looked at.
func checkFormat(data []byte) error {
	var f struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return jsonError(err)
	}
	if f.Format == nil {
		return fmt.Errorf("no member format: want %d", formatVersion)
	}
	if *f.Format != formatVersion {
		return fmt.Errorf("format %d: want %d; a newer version of this program may have made it", *f.Format, formatVersion)
	}
	return nil
}

// seconds is a duration that stands in JSON as a number of seconds, with up to nine digits after the point.
type seconds time.Duration

var secondsPattern = regexp.MustCompile(`^[0-9]{1,10}(\.[0-9]{1,9})?$`)

// MarshalJSON writes the shortest form.
func (s seconds) MarshalJSON() ([]byte, error) {
	text := strconv.FormatInt(int64(s)/int64(time.Second), 10)
	if fraction := int64(s) % int64(time.Second); fraction != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%09d", fraction), "0")
	}
	return []byte(text), nil
}

// UnmarshalJSON accepts no sign and no exponent.
func (s *seconds) UnmarshalJSON(data []byte) error {
	d, err := time.ParseDuration(string(data) + "s")
	if err != nil || !secondsPattern.Match(data) {
		return fmt.Errorf("%.30q: want a number of seconds", data)
	}
	*s = seconds(d)
	return nil
}
