package providertest

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func (s *suite) testRandom(t *testing.T) {
	t.Run("gives as many bytes as asked for", func(t *testing.T) {
		for _, n := range []int{0, 1, 31, 32, 1000, provider.MaxRandomBytes} {
			b, err := s.p.RandomBytes(t.Context(), n)
			require.NoError(t, err)
			require.Len(t, b, n, "the original's defect P02: an eighth of the bytes")
		}
	})
	t.Run("never gives the same twice", func(t *testing.T) {
		seen := map[string]bool{}
		for range 8 {
			b, err := s.p.RandomBytes(t.Context(), 32)
			require.NoError(t, err)
			seen[string(b)] = true
		}
		require.Len(t, seen, 8)
	})
	t.Run("fills a long answer to its end", func(t *testing.T) {
		b, err := s.p.RandomBytes(t.Context(), provider.MaxRandomBytes)
		require.NoError(t, err)
		for i := 0; i < len(b); i += 64 {
			require.NotEqual(t, make([]byte, 64), b[i:i+64], "64 zero bytes at %d", i)
		}
	})
	t.Run("refuses other lengths", func(t *testing.T) {
		for _, n := range []int{-1, -1 << 40, provider.MaxRandomBytes + 1, 1 << 40} {
			_, err := s.p.RandomBytes(t.Context(), n)
			require.ErrorIs(t, err, provider.ErrInvalid, n)
		}
	})
}

func (s *suite) testHKDF(t *testing.T) {
	unhex := func(text string) []byte {
		b, err := hex.DecodeString(text)
		require.NoError(t, err)
		return b
	}
	ikm := unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")
	tests := []struct {
		name       string
		salt, info []byte
		want       string
	}{
		{
			"RFC 5869 A.1", unhex("000102030405060708090a0b0c"), unhex("f0f1f2f3f4f5f6f7f8f9"),
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		},
		{
			"RFC 5869 A.3, without salt and info", nil, nil,
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
		{
			"32 zero bytes of salt are no salt", make([]byte, 32), nil,
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.p.HKDF(t.Context(), ikm, tt.salt, tt.info, 42)
			require.NoError(t, err)
			require.Equal(t, tt.want, hex.EncodeToString(got))
		})
	}
	t.Run("gives 0 to 8160 bytes", func(t *testing.T) {
		for _, n := range []int{0, 1, provider.MaxHKDFBytes} {
			got, err := s.p.HKDF(t.Context(), ikm, nil, nil, n)
			require.NoError(t, err)
			require.Len(t, got, n)
		}
		for _, n := range []int{-1, -1 << 40, provider.MaxHKDFBytes + 1} {
			_, err := s.p.HKDF(t.Context(), ikm, nil, nil, n)
			require.ErrorIs(t, err, provider.ErrInvalid, n)
		}
	})
}
