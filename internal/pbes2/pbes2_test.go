package pbes2

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func key(t *testing.T) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return der
}

func openssl(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("missing capability: openssl")
	}
	cmd := exec.Command(path, args...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	go func() {
		defer in.Close()
		_, _ = in.Write(stdin)
	}()
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

func TestWhatIsEncryptedComesBack(t *testing.T) {
	want := key(t)
	sealed, err := Encrypt(want, []byte("correct-horse"))
	require.NoError(t, err)
	got, err := Decrypt(sealed, []byte("correct-horse"))
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = Decrypt(sealed, []byte("battery-staple"))
	require.ErrorIs(t, err, ErrPassphrase)
	_, err = Encrypt(want, nil)
	require.ErrorIs(t, err, provider.ErrInvalid)
}

func TestOpenSSLReadsWhatWeWrite(t *testing.T) {
	want := key(t)
	sealed, err := Encrypt(want, []byte("correct-horse"))
	require.NoError(t, err)
	require.Equal(t, want, openssl(t, sealed, "pkcs8", "-inform", "DER", "-outform", "DER", "-passin", "pass:correct-horse"))
}

func TestWeReadWhatOpenSSLWrites(t *testing.T) {
	want := key(t)
	for _, args := range [][]string{
		{"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"}, {"-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512", "-iter", "3000"},
	} {
		base := []string{"pkcs8", "-topk8", "-inform", "DER", "-outform", "DER", "-passout", "pass:correct-horse"}
		sealed := openssl(t, want, append(base, args...)...)
		got, err := Decrypt(sealed, []byte("correct-horse"))
		require.NoError(t, err, args)
		require.Equal(t, want, got, args)
	}
}

func TestWhatCantBeDecrypted(t *testing.T) {
	sealed := func(args ...string) []byte {
		return openssl(t, key(t), append([]string{"pkcs8", "-topk8", "-inform", "DER", "-outform", "DER", "-passout", "pass:x"}, args...)...)
	}
	tests := []struct {
		name string
		der  []byte
		want error
	}{
		{"no DER", []byte("hush, secret"), provider.ErrInvalid},
		{"a key that is not encrypted", key(t), provider.ErrInvalid},
		{"another cipher", sealed("-v2", "des3"), provider.ErrUnsupported},
		{"another key derivation", sealed("-scrypt", "-scrypt_N", "16"), provider.ErrUnsupported},
		{"iterations without end", withIterations(t, maxIterations+1), provider.ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Decrypt(test.der, []byte("x"))
			require.ErrorIs(t, err, test.want)
			require.NotContains(t, err.Error(), "hush")
		})
	}
}

func withIterations(t *testing.T, n int) []byte {
	t.Helper()
	var p parameters
	var err error
	p.KDF, err = withParams(oidPBKDF2, kdfParameters{Salt: make([]byte, 8), Iterations: n})
	require.NoError(t, err)
	p.Cipher, err = withParams(ciphers[0].oid, make([]byte, 16))
	require.NoError(t, err)
	a, err := withParams(oidPBES2, p)
	require.NoError(t, err)
	der, err := asn1.Marshal(encryptedKey{a, make([]byte, 16)})
	require.NoError(t, err)
	return der
}

func FuzzDecrypt(f *testing.F) {
	block, _ := pem.Decode([]byte(sample))
	f.Add(block.Bytes)
	f.Fuzz(func(t *testing.T, der []byte) {
		if len(der) > 4096 {
			return
		}
		_, _ = Decrypt(der, []byte("x")) // it must not panic
	})
}

// sample is an Ed25519 key that openssl pkcs8 -topk8 -iter 1 encrypted.
const sample = `-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGaMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAhHTXMIG7UF/gIBATAM
BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBAgQQpy6KXooMedUHAicaI+b+nwRAzc4I
ksuxe4UVAVIzBa3MQWu4IySxQjceZXm80a70XF1KTVAuho+brgKm3WVX0PlyVxAu
+Hm9lyPUBSEo6vyk9A==
-----END ENCRYPTED PRIVATE KEY-----
`
