package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnIDThatIdentifiesIsShownWhole(t *testing.T) {
	require.Equal(t, "", shortID(nil))
	require.Equal(t, "00ff", shortID([]byte{0, 255}))
	require.Len(t, shortID(make([]byte, 32)), 64)
	require.Equal(t, "abababababababab… (350 bytes)", shortID(bytes.Repeat([]byte{0xab}, 350)), "what a record on NSS is kept in")
}
