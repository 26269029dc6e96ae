package hsm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/keywrap"
	"github.com/hsmmirror/hsmmirror/provider"
)

func TestMechanismThatWraps(t *testing.T) {
	both := mechanismInfo{flags: ckfWrap | ckfUnwrap}
	tests := []struct {
		name       string
		mechanisms map[uint]mechanismInfo
		flag       uint
		alg        provider.KeyAlg
		bits       int
		want       uint // 0: none
	}{
		{"KWP before the ambiguous PAD", map[uint]mechanismInfo{ckmAESKeyWrapKWP: both, ckmAESKeyWrapPad: both}, ckfWrap, provider.Ed25519, 256, ckmAESKeyWrapKWP},
		{"PAD where there is no KWP", map[uint]mechanismInfo{ckmAESKeyWrap: both, ckmAESKeyWrapPad: both}, ckfWrap, provider.Ed25519, 256, ckmAESKeyWrapPad},
		{"a KWP that unwraps only wraps nothing", map[uint]mechanismInfo{ckmAESKeyWrapKWP: {flags: ckfUnwrap}, ckmAESKeyWrapPad: both}, ckfWrap, provider.Ed25519, 256, ckmAESKeyWrapPad},
		{"a KWP that unwraps only unwraps", map[uint]mechanismInfo{ckmAESKeyWrapKWP: {flags: ckfUnwrap}, ckmAESKeyWrapPad: both}, ckfUnwrap, provider.Ed25519, 256, ckmAESKeyWrapKWP},
		{"the unpadded one takes AES-256", map[uint]mechanismInfo{ckmAESKeyWrap: both}, ckfWrap, provider.AES256GCM, 256, ckmAESKeyWrap},
		{"and a secret of 40 bytes", map[uint]mechanismInfo{ckmAESKeyWrap: both}, ckfWrap, provider.HMACSHA256, 320, ckmAESKeyWrap},
		{"but none of 33", map[uint]mechanismInfo{ckmAESKeyWrap: both}, ckfWrap, provider.HMACSHA256, 264, 0},
		{"nor a private key", map[uint]mechanismInfo{ckmAESKeyWrap: both}, ckfWrap, provider.RSAPSSSHA256, 2048, 0},
		{"a token without any", map[uint]mechanismInfo{ckmAESGCM: both}, ckfWrap, provider.AES256GCM, 256, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ways := keyWrapsFor(tt.mechanisms, tt.flag, tt.alg, tt.bits)
			if tt.want == 0 {
				require.Empty(t, ways)
				return
			}
			require.Equal(t, tt.want, ways[0].mechanism)
		})
	}
}

func TestWrappingKeyIsDrawnForOneUseAndWiped(t *testing.T) {
	k := keyWraps[0]
	var seen [][]byte
	var drawn [][]byte
	use := func(w wrapping) error {
		seen, drawn = append(seen, w.kek), append(drawn, bytes.Clone(w.kek))
		wrapped, err := k.wrap(w.kek, []byte("a key"))
		require.NoError(t, err)
		plain, err := keywrap.UnwrapPad(w.kek, wrapped)
		require.NoError(t, err)
		require.Equal(t, []byte("a key"), plain)
		return nil
	}
	require.NoError(t, k.underKEK(use))
	require.NoError(t, k.underKEK(use))
	require.Len(t, drawn[0], 32)
	require.NotEqual(t, drawn[0], drawn[1])
	for _, kek := range seen {
		require.Equal(t, make([]byte, 32), kek)
	}
}

func TestWrappingKeyIsTransportedWhereTheTokenTakesNoneInPlainText(t *testing.T) {
	unavailable := errors.New("no answer")
	tests := []struct {
		name    string
		answers []error // of the token, in turn
		want    error
		ways    []bool // transported?
	}{
		{"the token takes it", []error{nil}, nil, []bool{false}},
		{"the token wants it transported", []error{errNoKEK, nil}, nil, []bool{false, true}},
		{"the token takes it in no way", []error{errNoKEK, provider.ErrUnsupported}, provider.ErrUnsupported, []bool{false, true}},
		{"no answer is no refusal", []error{unavailable}, unavailable, []bool{false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ways []bool
			err := keyWraps[0].underKEK(func(w wrapping) error {
				ways = append(ways, w.transport)
				return tt.answers[len(ways)-1]
			})
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, tt.ways, ways)
		})
	}
}
