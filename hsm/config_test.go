package hsm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two tokens of a TPM: one serial number, and slots that move when a token is added.
func TestTheSameTokenIsFoundAgain(t *testing.T) {
	const serial = "0000000000000000"
	slot := uint(1)
	for _, tt := range []struct {
		name          string
		cfg           Config
		first, second TokenInfo
		again         bool
	}{
		{"by its slot", Config{Slot: &slot}, TokenInfo{Label: "first", Serial: "01"}, TokenInfo{Label: "second", Serial: "02"}, true},
		{"by its slot and label", Config{Slot: &slot, Label: "first"}, TokenInfo{Label: "first", Serial: "01"}, TokenInfo{Label: "second", Serial: "02"}, true},
		{"by its serial number", Config{Serial: "01"}, TokenInfo{Label: "one", Serial: "01"}, TokenInfo{Label: "one", Serial: "02"}, true},
		{"by its label, with one serial number for all", Config{Slot: &slot}, TokenInfo{Label: "first", Serial: serial}, TokenInfo{Label: "second", Serial: serial}, true},
		{"by its slot alone, if nothing else tells it apart", Config{Slot: &slot}, TokenInfo{Label: "one", Serial: serial}, TokenInfo{Label: "one", Serial: serial}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.first.Slot, tt.second.Slot = 1, 2
			require.True(t, tt.cfg.matches(tt.first))
			tt.first.twin = hasTwin([]TokenInfo{tt.first, tt.second}, tt.first)
			cfg := tt.cfg.again(tt.first)
			require.True(t, cfg.matches(tt.first), "it has not moved")
			if !tt.again {
				require.False(t, cfg.matches(tt.second))
				return
			}
			tt.first.Slot, tt.second.Slot = 2, 1
			require.True(t, cfg.matches(tt.first), "it has moved")
			require.False(t, cfg.matches(tt.second), "another token has moved into its slot")
		})
	}
}
