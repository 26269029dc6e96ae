package keywrap

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

type algorithm func(kek, b []byte) ([]byte, error)

// The vectors of RFC 3394 section 4 with a key encryption key of 256 bits, and those of RFC 5649 section 6.
func TestVectors(t *testing.T) {
	kek256, kek192 := "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "5840DF6E29B02AF1 AB493B705BF16EA1 AE8338F4DCC176A8"
	tests := []struct {
		name              string
		wrap, unwrap      algorithm
		kek, key, wrapped string
	}{
		{"RFC 3394, 4.3: 128 bits", Wrap, Unwrap, kek256, "00112233445566778899AABBCCDDEEFF", "64E8C3F9CE0F5BA2 63E9777905818A2A 93C8191E7D6E8AE7"},
		{"RFC 3394, 4.5: 192 bits", Wrap, Unwrap, kek256, "00112233445566778899AABBCCDDEEFF0001020304050607",
			"A8F9BC1612C68B3F F6E6F4FBE30E71E4 769C8B80A32CB895 8CD5D17D6B254DA1"},
		{"RFC 3394, 4.6: 256 bits", Wrap, Unwrap, kek256, "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
			"28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21"},
		{"RFC 5649: 20 bytes", WrapPad, UnwrapPad, kek192, "C37B7E6492584340 BED1220780894115 5068F738",
			"138BDEAA9B8FA7FC 61F97742E72248EE 5AE6AE5360D1AE6A 5F54F373FA543B6A"},
		{"RFC 5649: 7 bytes", WrapPad, UnwrapPad, kek192, "466F7250617369", "AFBEB0F07DFBF541 9200F2CCB50BB24F"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kek, key := unhex(t, tt.kek), unhex(t, tt.key)
			wrapped, err := tt.wrap(kek, key)
			require.NoError(t, err)
			require.Equal(t, unhex(t, tt.wrapped), wrapped)
			got, err := tt.unwrap(kek, wrapped)
			require.NoError(t, err)
			require.Equal(t, key, got)
			for i := range wrapped {
				bad := bytes.Clone(wrapped)
				bad[i] ^= 1
				_, err := tt.unwrap(kek, bad)
				require.ErrorIs(t, err, ErrUnwrap)
			}
			require.Equal(t, unhex(t, tt.wrapped), wrapped, "unwrapping leaves its input")
		})
	}
}

func TestEveryLengthComesBack(t *testing.T) {
	kek := bytes.Repeat([]byte{7}, 32)
	for n := 1; n <= 64; n++ {
		key := bytes.Repeat([]byte{0xA5}, n)
		wrapped, err := WrapPad(kek, key)
		require.NoError(t, err)
		require.Len(t, wrapped, 8+(n+7)/8*8)
		got, err := UnwrapPad(kek, wrapped)
		require.NoError(t, err)
		require.Equal(t, key, got)

		wrapped, err = WrapPKCS7(kek, key)
		if n < 8 {
			require.ErrorIs(t, err, errLength)
			continue
		}
		require.NoError(t, err)
		require.Len(t, wrapped, 8+(n+8)/8*8)
		got, err = UnwrapPKCS7(kek, wrapped)
		require.NoError(t, err)
		require.Equal(t, key, got)
		_, err = UnwrapPad(kek, wrapped)
		require.ErrorIs(t, err, ErrUnwrap, "one padding is not taken for the other")
	}
}

func TestUnwrapPKCS7RefusesOtherPaddings(t *testing.T) {
	kek := bytes.Repeat([]byte{7}, 32)
	for name, end := range map[string]string{
		"none": "00", "longer than a semiblock": "090909090909090909", "not all the same": "0203",
	} {
		t.Run(name, func(t *testing.T) {
			padded := append(make([]byte, 24), unhex(t, end)...)
			wrapped, err := Wrap(kek, padded[len(padded)-24:])
			require.NoError(t, err)
			_, err = UnwrapPKCS7(kek, wrapped)
			require.ErrorIs(t, err, ErrUnwrap)
		})
	}
}

// What opens under the key, but was padded otherwise than RFC 5649 says.
func TestUnwrapPadRefusesOtherPaddings(t *testing.T) {
	kek := bytes.Repeat([]byte{7}, 32)
	tests := []struct{ name, plain string }{
		{"no key at all", "A65959A6 00000000 0000000000000000"},
		{"a length of a whole semiblock less", "A65959A6 00000008 0102030405060708 0000000000000000"},
		{"a length beyond the end", "A65959A6 00000009 0102030405060708"},
		{"a length beyond everything", "A65959A6 FFFFFFFF 0102030405060708"},
		{"padding that is not zero", "A65959A6 00000007 0102030405060701"},
		{"the initial value of RFC 3394", "A6A6A6A6 A6A6A6A6 0102030405060708 0102030405060708"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := UnwrapPad(kek, sealed(t, kek, unhex(t, tt.plain)))
			require.ErrorIs(t, err, ErrUnwrap)
		})
	}
}

func TestLengthsThatNothingWrapsTo(t *testing.T) {
	kek := make([]byte, 32)
	for _, n := range []int{0, 8, 16, 25} {
		_, err := Unwrap(kek, make([]byte, n))
		require.ErrorIs(t, err, ErrUnwrap, "RFC 3394, %d bytes", n)
	}
	for _, n := range []int{0, 8, 17} {
		_, err := UnwrapPad(kek, make([]byte, n))
		require.ErrorIs(t, err, ErrUnwrap, "RFC 5649, %d bytes", n)
	}
}

func TestLengthsThatCantBeWrapped(t *testing.T) {
	kek := make([]byte, 32)
	for _, n := range []int{0, 8, 17} {
		_, err := Wrap(kek, make([]byte, n))
		require.ErrorIs(t, err, errLength, "%d bytes", n)
	}
	_, err := WrapPad(kek, nil)
	require.ErrorIs(t, err, errLength)
}

func TestWrongKeyEncryptionKeys(t *testing.T) {
	for _, f := range []algorithm{Wrap, Unwrap, WrapPad, UnwrapPad, WrapPKCS7, UnwrapPKCS7} {
		_, err := f(make([]byte, 15), make([]byte, 32))
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrUnwrap)
	}
}

// Whatever unwraps is what wrapping it again gives.
func FuzzUnwrap(f *testing.F) {
	kek := make([]byte, 32)
	for _, wrap := range []algorithm{Wrap, WrapPad, WrapPKCS7} {
		wrapped, err := wrap(kek, bytes.Repeat([]byte{1}, 24))
		require.NoError(f, err)
		f.Add(wrapped)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		for _, a := range []struct{ wrap, unwrap algorithm }{{Wrap, Unwrap}, {WrapPad, UnwrapPad}, {WrapPKCS7, UnwrapPKCS7}} {
			key, err := a.unwrap(kek, wrapped)
			if err != nil {
				require.ErrorIs(t, err, ErrUnwrap)
				continue
			}
			again, err := a.wrap(kek, key)
			require.NoError(t, err)
			require.Equal(t, wrapped, again)
		}
	})
}

// sealed encrypts an initial value of the test's own.
func sealed(t *testing.T, kek, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	require.NoError(t, err)
	out := bytes.Clone(plain)
	seal(block, out)
	return out
}
