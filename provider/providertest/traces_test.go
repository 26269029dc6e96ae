package providertest

import (
	"crypto/rand"
	"encoding/base64"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTracesAreFoundInEveryPrintedForm(t *testing.T) {
	secret := make([]byte, 32)
	rand.Read(secret)
	secret[0] |= 1
	found := tracesOf(secret)
	for how, text := range prints(secret) {
		require.True(t, found.in(text), how)
	}
	for how, text := range prints(string(secret)) {
		switch how[:2] {
		case "%d", "%o", "%b": // no forms of a text
		case "sl", "JS": // lose bytes that are no UTF-8
		default:
			require.True(t, found.in(text), how)
		}
	}
	require.True(t, found.in("d="+new(big.Int).SetBytes(secret).String()))
	require.True(t, found.in("k="+base64.URLEncoding.EncodeToString(secret)))
	require.True(t, found.in("tail "+string(secret[16:])))
	require.False(t, found.in("[redacted]"))
	require.False(t, tracesOf([]byte("short")).in("short"), "too short to be told from chance")
}
