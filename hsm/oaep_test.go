package hsm

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// testRSAKey is one key for all tests that need just any: making one takes a while.
var testRSAKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// rawRSA is what a token does under CKM_RSA_X_509.
func rawRSA(key *rsa.PrivateKey, in []byte) []byte {
	m := new(big.Int).Exp(new(big.Int).SetBytes(in), key.D, key.N)
	return m.FillBytes(make([]byte, key.Size()))
}

// encodeOAEP masks a seed and a db, whatever they hold.
func encodeOAEP(first byte, seed, db []byte) []byte {
	seed, db = bytes.Clone(seed), bytes.Clone(db)
	xorMGF1(db, seed)
	xorMGF1(seed, db)
	return append(append([]byte{first}, seed...), db...)
}

// oaepDB returns the db of a message for a modulus of k bytes.
func oaepDB(k int, message, label []byte) []byte {
	hash := sha256.Sum256(label)
	zeros := make([]byte, k-2*sha256.Size-2-len(message))
	return append(append(append(hash[:], zeros...), 1), message...)
}

func TestDecodeOAEPOfTheStandardLibrary(t *testing.T) {
	key := testRSAKey()
	most := key.Size() - 2*sha256.Size - 2
	for _, label := range [][]byte{nil, []byte("a label"), bytes.Repeat([]byte("long"), 100)} {
		for _, n := range []int{0, 1, 2, 31, 32, 33, 100, most - 1, most} {
			message := make([]byte, n)
			_, _ = rand.Read(message)
			c, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, message, label)
			require.NoError(t, err)
			em := rawRSA(key, c)
			before := bytes.Clone(em)

			got, err := decodeOAEP(em, label)
			require.NoError(t, err, "%d bytes", n)
			require.True(t, bytes.Equal(message, got))
			require.Equal(t, before, em, "the caller's slice is left as it was")

			_, err = decodeOAEP(em, append([]byte("not "), label...))
			require.Equal(t, errOAEP, err)
		}
	}
}

func TestDecodeOAEPOfEveryLength(t *testing.T) {
	const k = 128
	seed := bytes.Repeat([]byte{0xA5}, sha256.Size)
	for n := range k - 2*sha256.Size - 2 + 1 {
		for _, fill := range []byte{0, 1, 0xFF} { // a message of zeros or ones looks like padding
			message := bytes.Repeat([]byte{fill}, n)
			got, err := decodeOAEP(encodeOAEP(0, seed, oaepDB(k, message, nil)), nil)
			require.NoError(t, err)
			require.True(t, bytes.Equal(message, got))
		}
	}
}

func TestDecodeOAEPRefuses(t *testing.T) {
	const k, hash = 256, sha256.Size
	seed := bytes.Repeat([]byte{0x5A}, hash)
	edit := func(change func(db []byte)) []byte {
		db := oaepDB(k, []byte("message"), nil)
		change(db)
		return encodeOAEP(0, seed, db)
	}
	good := edit(func([]byte) {})
	got, err := decodeOAEP(good, nil)
	require.NoError(t, err)
	require.Equal(t, "message", string(got))

	separator := k - 1 - hash - len("message") - 1
	flip := func(at int) []byte {
		em := bytes.Clone(good)
		em[at] ^= 0x10
		return em
	}
	for name, em := range map[string][]byte{
		"nothing":                             nil,
		"one byte less than the least":        make([]byte, 2*hash+1),
		"zeros":                               make([]byte, k),
		"ones":                                bytes.Repeat([]byte{0xFF}, k),
		"a first byte of 1":                   encodeOAEP(1, seed, oaepDB(k, []byte("message"), nil)),
		"a first byte of 255":                 encodeOAEP(255, seed, oaepDB(k, []byte("message"), nil)),
		"another label":                       encodeOAEP(0, seed, oaepDB(k, []byte("message"), []byte("x"))),
		"the label's hash with its first bit": edit(func(db []byte) { db[0] ^= 0x80 }),
		"the label's hash with its last bit":  edit(func(db []byte) { db[hash-1] ^= 1 }),
		"a byte in the zeros, at their start": edit(func(db []byte) { db[hash] = 2 }),
		"a byte in the zeros, at their end":   edit(func(db []byte) { db[separator-1] = 0x80 }),
		"another separator":                   edit(func(db []byte) { db[separator] = 3 }),
		"no separator, then other bytes":      edit(func(db []byte) { db[separator] = 0 }),
		"no separator, then zeros to the end": edit(func(db []byte) { clear(db[separator:]) }),
		"all wrong at once":                   encodeOAEP(7, seed, bytes.Repeat([]byte{9}, k-1-hash)),
		"a changed seed":                      flip(3),
		"a changed message":                   flip(k - 1),
		"one byte less than the modulus":      good[1:],
		"one byte more":                       append([]byte{0}, good...),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeOAEP(em, nil)
			require.Nil(t, got)
			require.True(t, err == errOAEP, "one error for all, %v came", err)
		})
	}
	require.ErrorIs(t, errOAEP, provider.ErrInvalid)
	require.EqualError(t, errOAEP, "invalid: ciphertext does not decrypt under this key and label")
}

// FuzzDecodeOAEP holds the verdict against that of crypto/rsa.
func FuzzDecodeOAEP(f *testing.F) {
	key := testRSAKey()
	k := key.Size()
	seed := make([]byte, sha256.Size)
	f.Add(byte(0), seed, []byte("\x01message"), []byte(nil), true)
	f.Add(byte(0), seed, []byte("\x00\x00\x01"), []byte("label"), true)
	f.Add(byte(0), seed, []byte("\x00\x02\x01m"), []byte(nil), true)
	f.Add(byte(0), seed, []byte{}, []byte(nil), true)
	f.Add(byte(1), seed, []byte("\x01m"), []byte(nil), true)
	f.Add(byte(0), seed, bytes.Repeat([]byte{1}, 222), []byte(nil), false)
	f.Fuzz(func(t *testing.T, first byte, seed, tail, label []byte, rightHash bool) {
		db := make([]byte, k-1-sha256.Size)
		copy(db[max(0, len(db)-len(tail)):], tail)
		if rightHash {
			hash := sha256.Sum256(label)
			copy(db, hash[:])
		}
		em := encodeOAEP(first, slices.Concat(seed, make([]byte, sha256.Size))[:sha256.Size], db)
		number := new(big.Int).SetBytes(em)
		if number.Cmp(key.N) >= 0 {
			t.Skip("no RSA step gives a number so large")
		}
		c := number.Exp(number, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, k))

		want, wantErr := rsa.DecryptOAEP(sha256.New(), nil, key, c, label)
		got, err := decodeOAEP(em, label)
		require.Equal(t, wantErr == nil, err == nil, "crypto/rsa says %v, we say %v", wantErr, err)
		require.True(t, bytes.Equal(want, got))
	})
}
