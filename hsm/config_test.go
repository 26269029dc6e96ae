package hsm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two tokens of a TPM: one serial number, and slots that move when a token is added.
func TestTheSameTokenIsFoundAgainAmongThoseWithOneSerialNumber(t *testing.T) {
	const serial = "0000000000000000"
	first, second := TokenInfo{Label: "first", Serial: serial, Slot: 1}, TokenInfo{Label: "second", Serial: serial, Slot: 2}
	slot := uint(1)
	cfg := Config{Slot: &slot}
	require.True(t, cfg.matches(first))
	cfg = cfg.again(first)
	require.True(t, cfg.matches(first))
	first.Slot, second.Slot = 2, 1
	require.False(t, cfg.matches(second), "another token has moved into the slot")
	require.False(t, cfg.matches(first), "the slot was asked for")
	require.True(t, Config{Serial: serial}.again(first).matches(first))
}
