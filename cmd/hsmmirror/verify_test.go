package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsSaidOfASignatureThatDoesNotVerify(t *testing.T) {
	der, raw := []byte{0x30, 1}, []byte{0x31, 1}
	tests := []struct {
		name string
		s    statement
		hint string
	}{
		{"one in DER that was taken for raw", statement{signature: der, raw: true}, "if the signature is in the form of OpenSSL and X.509, say --format der"},
		{"one that is raw and was taken for DER", statement{signature: raw}, "if the signature is in the form of JWS, say --format raw"},
		{"a raw one", statement{signature: raw, raw: true}, ""},
		{"one in DER", statement{signature: der}, ""},
		{"an empty one", statement{raw: true}, ""},
		{"that of a JWS", statement{signature: der, raw: true, jwa: "ES256"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.s.mismatch()
			require.EqualError(t, err, "the signature does not belong to this key and this content")
			require.Equal(t, test.hint, hintFor(err))
		})
	}
	require.Equal(t, errors.New("none of these keys is for it"), noKeyFor(statement{jwa: "ES256"}))
	require.EqualError(t, noKeyFor(statement{kid: "k\x1b.1", jwa: "ES256"}), `it names key "k\x1b.1" and algorithm ES256, and none of these keys is that`)
}
