package provider_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestHKDFVectors(t *testing.T) {
	tests := []struct{ name, ikm, salt, info, okm string }{
		{
			"RFC 5869 A.1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		},
		{
			"RFC 5869 A.2",
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637" +
				"38393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
			"606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f9091929394959697" +
				"98999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
			"b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7" +
				"e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8" +
				"367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
		},
		{
			"RFC 5869 A.3", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var in [3][]byte
			for i, text := range []string{tt.ikm, tt.salt, tt.info} {
				var err error
				in[i], err = hex.DecodeString(text)
				require.NoError(t, err)
			}
			got, err := provider.HKDFSHA256(in[0], in[1], in[2], len(tt.okm)/2)
			require.NoError(t, err)
			require.Equal(t, tt.okm, hex.EncodeToString(got))
		})
	}
}

func TestHKDFLength(t *testing.T) {
	require.Equal(t, 8160, provider.MaxHKDFBytes)
	long, err := provider.HKDFSHA256([]byte("ikm"), nil, nil, provider.MaxHKDFBytes)
	require.NoError(t, err)
	require.Len(t, long, provider.MaxHKDFBytes)
	short, err := provider.HKDFSHA256([]byte("ikm"), make([]byte, 32), nil, 5)
	require.NoError(t, err)
	require.Equal(t, long[:5], short, "no salt is 32 zero bytes")
	none, err := provider.HKDFSHA256(nil, nil, nil, 0)
	require.NoError(t, err)
	require.Empty(t, none)
	for _, n := range []int{-1, provider.MaxHKDFBytes + 1, 1 << 40} {
		_, err := provider.HKDFSHA256([]byte("ikm"), nil, nil, n)
		require.ErrorIs(t, err, provider.ErrInvalid)
	}
}

func TestRandomLength(t *testing.T) {
	for n, valid := range map[int]bool{0: true, 1: true, 1 << 20: true, -1: false, 1<<20 + 1: false, 1 << 40: false} {
		err := provider.ValidateRandom(n)
		if valid {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, provider.ErrInvalid)
		}
	}
}
