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

// decodeFile is decodeStrict of a file's content into v, in which format is its member of that name. Another format is
// named before anything else that is wrong: what it allows is not known here.
func decodeFile(data []byte, v any, format *int) error {
	if err := decodeStrict(data, v); err != nil {
		var f struct {
			Format int `json:"format"`
		}
		if json.Unmarshal(data, &f) != nil || f.Format == formatVersion {
			return err
		}
		*format = f.Format
	}
	if *format != formatVersion {
		return fmt.Errorf("format %d: want %d; a newer version of this program may have made it", *format, formatVersion)
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
