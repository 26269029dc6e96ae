package hsm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// RFC 6979 appendix A.2.5: P-256, SHA-256, message "sample".
const (
	sampleR = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
	sampleS = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)

func TestSignatureDER(t *testing.T) {
	der, err := curveP256.signatureDER(unhex(t, sampleR+sampleS))
	require.NoError(t, err)
	require.Equal(t, unhex(t, "3046"+"022100"+sampleR+"022100"+sampleS), der)

	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, p256Point))
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("sample"))
	require.True(t, ecdsa.VerifyASN1(pub, digest[:], der))
}

func TestSignatureDERTakesWhatModulesGive(t *testing.T) {
	tests := []struct {
		name string
		c    *curve
		raw  string
		want string
	}{
		{"leading zeros go", curveP256, leftPad("05", 32) + leftPad("06", 32), "3006020105020106"},
		{"a high bit gets a zero", curveP256, leftPad("80", 32) + leftPad("06", 32), "300702020080020106"},
		{"padding left out of both", curveP256, "00ff" + "0102", "3008" + "020200ff" + "02020102"},
		{"one byte each", curveP384, "0102", "3006020101020102"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			der, err := tt.c.signatureDER(unhex(t, tt.raw))
			require.NoError(t, err)
			require.Equal(t, unhex(t, tt.want), der)
		})
	}
}

func TestSignatureRefuses(t *testing.T) {
	n := elliptic.P256().Params().N.Bytes()
	one := big.NewInt(1).FillBytes(make([]byte, 32))
	for name, raw := range map[string][]byte{
		"nothing":           nil,
		"odd length":        make([]byte, 63),
		"too long":          bytes.Repeat([]byte{1}, 66),
		"zeros":             make([]byte, 64),
		"r is zero":         append(make([]byte, 32), one...),
		"s is zero":         append(bytes.Clone(one), make([]byte, 32)...),
		"r is the order":    append(bytes.Clone(n), one...),
		"s is the order":    append(bytes.Clone(one), n...),
		"all ones":          bytes.Repeat([]byte{0xFF}, 64),
		"a DER signature":   unhex(t, "3046022100"+sampleR+"022100"+sampleS),
		"a zero and a zero": {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			der, err := curveP256.signatureDER(raw)
			require.ErrorIs(t, err, provider.ErrUnavailable)
			require.Nil(t, der)
		})
	}
	_, err := curveP256.signatureDER(make([]byte, 63))
	require.EqualError(t, err, "store unavailable: the token made a signature of 63 bytes that is none: want r and s of 32 bytes each for P-256")
}

func TestSignatureOfEachCurve(t *testing.T) {
	for _, c := range []*curve{curveP256, curveP384, curveP521} {
		t.Run(c.name, func(t *testing.T) {
			key := generatePrivate(t, c).(*ecdsa.PrivateKey)
			digest := make([]byte, 32)
			for range 20 {
				r, s, err := ecdsa.Sign(rand.Reader, key, digest)
				require.NoError(t, err)
				raw := make([]byte, 2*len(c.order))
				r.FillBytes(raw[:len(c.order)])
				s.FillBytes(raw[len(c.order):])
				require.Len(t, raw, map[string]int{"P-256": 64, "P-384": 96, "P-521": 132}[c.name])
				der, err := c.signatureDER(raw)
				require.NoError(t, err)
				require.True(t, ecdsa.VerifyASN1(&key.PublicKey, digest, der))
			}
		})
	}
}

// FuzzSignature looks for a signature that changes on the way to DER.
func FuzzSignature(f *testing.F) {
	f.Add(unhex(f, sampleR+sampleS))
	f.Add([]byte{1, 2})
	f.Add(make([]byte, 132))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, c := range []*curve{curveP256, curveP384, curveP521} {
			der, err := c.signatureDER(raw)
			if err != nil {
				continue
			}
			var got struct{ R, S *big.Int }
			rest, err := asn1.Unmarshal(der, &got)
			require.NoError(t, err)
			require.Empty(t, rest)
			half := len(raw) / 2
			require.Equal(t, raw[:half], got.R.FillBytes(make([]byte, half)))
			require.Equal(t, raw[half:], got.S.FillBytes(make([]byte, half)))
		}
	})
}

func leftPad(s string, n int) string {
	return string(bytes.Repeat([]byte("0"), 2*n-len(s))) + s
}
