//go:build cgo

package hsm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Modules whose OAEP fails in ways that no table knows of. Behind the detour stands a token that does the raw RSA step.
func TestRawStepWhereOAEPFails(t *testing.T) {
	tests := []struct {
		name  string
		call  string
		code  uint
		ever  bool // the token is not asked for OAEP again
		wants error
	}{
		{"the hash is refused when the operation begins", "C_DecryptInit", 0x07, true, nil},                               // CKR_ARGUMENTS_BAD
		{"the parameters are refused at its end", "C_Decrypt", 0x71, true, nil},                                           // CKR_MECHANISM_PARAM_INVALID
		{"p11-kit's remoting can't say that a message is empty", "C_Decrypt", 0x150, false, nil},                          // CKR_BUFFER_TOO_SMALL
		{"a ciphertext that does not decrypt is not tried in another way", "C_Decrypt", 0x40, false, provider.ErrInvalid}, // CKR_ENCRYPTED_DATA_INVALID
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, d := openDetour(t)
			d.info = func(info *TokenInfo) { info.Manufacturer = "another maker" }
			ref := createKey(t, token, provider.RSAOAEPSHA256)
			decrypter, err := token.Decrypter(t.Context(), ref.KID, 0)
			require.NoError(t, err)
			asked := 0
			d.onDecrypt = func(m mechanism) error {
				if m.typ != ckmRSAPKCSOAEP {
					return nil
				}
				asked++
				return &Error{Token: sharedToken, Call: tt.call, Code: tt.code}
			}
			token.rawOAEP.Store(false) // the proof of the pair has asked the token
			for range 2 {
				ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, decrypter.Public().(*rsa.PublicKey), []byte("message"), nil)
				require.NoError(t, err)
				plain, err := decrypter.DecryptContext(t.Context(), ciphertext, nil)
				require.ErrorIs(t, err, tt.wants)
				if tt.wants == nil {
					require.Equal(t, "message", string(plain))
				}
			}
			require.Equal(t, tt.ever, token.rawOAEP.Load())
			require.Equal(t, map[bool]int{true: 1, false: 2}[tt.ever], asked)
		})
	}
}
