package hsm

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestParseRSAPublic(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	n, e := encodeRSAPublic(&key.PublicKey)
	require.Len(t, n, 256)
	require.Equal(t, []byte{1, 0, 1}, e)

	for name, zeros := range map[string]int{"as specified": 0, "with a sign byte": 1, "with leading zeros": 5} {
		t.Run(name, func(t *testing.T) {
			pub, err := parseRSAPublic(append(make([]byte, zeros), n...), append(make([]byte, zeros), e...))
			require.NoError(t, err)
			require.True(t, key.PublicKey.Equal(pub))
		})
	}
	pub, err := parseRSAPublic(n, []byte{0x7F, 0xFF, 0xFF, 0xFF})
	require.NoError(t, err)
	require.Equal(t, 1<<31-1, pub.E, "the largest exponent that Go takes")
}

func TestParseRSAPublicRefuses(t *testing.T) {
	good := new(big.Int).SetBit(big.NewInt(1), 2047, 1).Bytes()
	tests := []struct {
		name string
		n, e []byte
		is   error
		text string
	}{
		{"no modulus", nil, []byte{3}, provider.ErrTampered, "CKA_MODULUS of 0 bytes is no modulus: want an odd number"},
		{"a modulus of zeros", make([]byte, 256), []byte{3}, provider.ErrTampered, "CKA_MODULUS of 256 bytes is no modulus: want an odd number"},
		{"the modulus one", []byte{1}, []byte{3}, provider.ErrTampered, "CKA_MODULUS of 1 bytes is no modulus: want an odd number"},
		{"an even modulus", append([]byte{1}, make([]byte, 255)...), []byte{3}, provider.ErrTampered, "CKA_MODULUS of 256 bytes is no modulus: want an odd number"},
		{"a giant modulus", append([]byte{1}, make([]byte, 2048)...), []byte{3}, provider.ErrUnsupported, "CKA_MODULUS of 16385 bits: want at most 16384"},
		{"no exponent", good, nil, provider.ErrTampered, "CKA_PUBLIC_EXPONENT 0: want an odd number of 3 or more"},
		{"the exponent one", good, []byte{1}, provider.ErrTampered, "CKA_PUBLIC_EXPONENT 1: want an odd number of 3 or more"},
		{"an even exponent", good, []byte{1, 0, 0}, provider.ErrTampered, "CKA_PUBLIC_EXPONENT 65536: want an odd number of 3 or more"},
		{"an exponent of 32 bits", good, []byte{0x80, 0, 0, 1}, provider.ErrUnsupported, "CKA_PUBLIC_EXPONENT of 32 bits: want at most 31"},
		{"an exponent of 64 bits", good, []byte{0xFF, 0, 0, 0, 0, 0, 0, 1}, provider.ErrUnsupported, "CKA_PUBLIC_EXPONENT of 64 bits: want at most 31"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pub, err := parseRSAPublic(tt.n, tt.e)
			require.Nil(t, pub)
			require.ErrorIs(t, err, tt.is)
			require.EqualError(t, err, tt.is.Error()+": "+tt.text)
		})
	}
}
