package provider

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidateObjectLabel(t *testing.T) {
	tests := []struct {
		name  string
		label string
		ok    bool
	}{
		{"plain", "web server", true},
		{"letters of any script", "Schlüssel für 東京", true},
		{"one byte", "x", true},
		{"as long as it may be", strings.Repeat("a", MaxLabel), true},
		{"empty", "", false},
		{"a byte too long", strings.Repeat("a", MaxLabel+1), false},
		{"too long in bytes, though not in characters", strings.Repeat("ä", MaxLabel/2+1), false},
		{"no UTF-8", "a\xff", false},
		{"a line break", "a\nb", false},
		{"NUL", "a\x00", false},
		{"an escape sequence", "a\x1b[2J", false},
		{"a C1 control", "a\u009b2J", false},
		{"a mark that turns the direction of text", "a\u202eb", false},
		{"the character that stands for what could not be read", "a\ufffd", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := ValidateObjectLabel(tt.label)
			if tt.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrInvalid)
		})
	}
}
