//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// The tests of the files interop_* hold what the token makes against programs that share no code with us.

// requireProgram skips the test where a program is not installed, as softhsmtest.Get does for SoftHSM2.
func requireProgram(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv(softhsmtest.RequireEnv) != "" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
}

// tryProgram runs a program with the given standard input and returns what it wrote.
func tryProgram(t testing.TB, stdin []byte, program string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// runProgram is tryProgram for a program that succeeds.
func runProgram(t testing.TB, stdin []byte, program string, args ...string) string {
	t.Helper()
	out, err := tryProgram(t, stdin, program, args...)
	require.NoError(t, err, "%s %v: %s", program, args, out)
	return out
}

// createKey makes a key for alg on the token, and destroys it at the end of the test.
func createKey(t testing.TB, token *Token, alg provider.KeyAlg) provider.KeyRef {
	t.Helper()
	bits := 0
	if alg.KeyType() == "RSA" {
		bits = 2048
	}
	ref, err := token.CreateKey(t.Context(), provider.KeySpec{Alg: alg, Bits: bits})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := token.DestroyKey(context.Background(), ref.KID, provider.AllVersions)
		require.NoError(t, err)
	})
	return ref
}

func signerOf(t testing.TB, token *Token, ref provider.KeyRef) provider.Signer {
	t.Helper()
	signer, err := token.Signer(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	return signer
}

// writePublic writes a public key to a file as PEM.
func writePublic(t testing.TB, dir string, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return writePEM(t, dir, "public.pem", "PUBLIC KEY", der)
}

func writePEM(t testing.TB, dir, name, kind string, der []byte) string {
	t.Helper()
	return writeFile(t, dir, name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func writeFile(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestSignaturesVerifyElsewhere(t *testing.T) {
	requireProgram(t, "openssl")
	token := open(t, sharedToken)
	tests := []struct {
		alg     provider.KeyAlg
		openssl []string // arguments of "openssl dgst"; nil: "openssl pkeyutl"
	}{
		{provider.ECDSAP256SHA256, []string{"-sha256"}},
		{provider.ECDSAP384SHA384, []string{"-sha384"}},
		{provider.ECDSAP521SHA512, []string{"-sha512"}},
		{provider.RSAPKCS1SHA256, []string{"-sha256"}},
		{provider.RSAPSSSHA256, []string{"-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", "-sigopt", "rsa_mgf1_md:sha256"}},
		{provider.Ed25519, nil},
	}
	for _, tt := range tests {
		t.Run(string(tt.alg), func(t *testing.T) {
			dir, message := t.TempDir(), []byte("a release")
			signer := signerOf(t, token, createKey(t, token, tt.alg))
			signature, err := signer.Sign(nil, tt.alg.Digest(message), tt.alg.SignerOpts())
			require.NoError(t, err)
			require.True(t, standardVerify(signer.Public(), tt.alg, message, signature), "the standard library")

			public, sig := writePublic(t, dir, signer.Public()), writeFile(t, dir, "signature", signature)
			verify := func(in string) []string {
				if tt.openssl == nil {
					return []string{"pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", in, "-sigfile", sig}
				}
				return append(append([]string{"dgst"}, tt.openssl...), "-verify", public, "-signature", sig, in)
			}
			runProgram(t, nil, "openssl", verify(writeFile(t, dir, "message", message))...)
			out, err := tryProgram(t, nil, "openssl", verify(writeFile(t, dir, "another", []byte("another")))...)
			require.Error(t, err, "OpenSSL takes the signature for another message: %s", out)
		})
	}
}

// standardVerify verifies a signature with the standard library alone.
func standardVerify(public crypto.PublicKey, alg provider.KeyAlg, message, signature []byte) bool {
	h := alg.Hash()
	var digest []byte
	if h != 0 {
		w := h.New()
		w.Write(message)
		digest = w.Sum(nil)
	}
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case *rsa.PublicKey:
		if alg == provider.RSAPSSSHA256 {
			return rsa.VerifyPSS(k, h, digest, signature, &rsa.PSSOptions{SaltLength: h.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(k, h, digest, signature) == nil
	}
	return false
}

func TestTokenDecryptsWhatOpenSSLEncrypts(t *testing.T) {
	requireProgram(t, "openssl")
	token := open(t, sharedToken)
	ref := createKey(t, token, provider.RSAOAEPSHA256)
	decrypter, err := token.Decrypter(t.Context(), ref.KID, 0)
	require.NoError(t, err)
	dir := t.TempDir()
	public := writePublic(t, dir, decrypter.Public())
	most := decrypter.Public().(*rsa.PublicKey).Size() - 2*sha256.Size - 2

	for name, label := range map[string]string{"without a label": "", "with a label": "a label"} {
		for _, n := range []int{0, 1, 32, most} {
			t.Run(name, func(t *testing.T) {
				message := bytes.Repeat([]byte{1}, n)
				args := []string{"pkeyutl", "-encrypt", "-pubin", "-inkey", public, "-in", writeFile(t, dir, "message", message), "-out", filepath.Join(dir, "ciphertext"),
					"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"}
				if label != "" {
					args = append(args, "-pkeyopt", "rsa_oaep_label:"+hex.EncodeToString([]byte(label)))
				}
				runProgram(t, nil, "openssl", args...)
				ciphertext, err := os.ReadFile(filepath.Join(dir, "ciphertext"))
				require.NoError(t, err)

				plain, err := decrypter.Decrypt(nil, ciphertext, &rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte(label)})
				require.NoError(t, err)
				require.True(t, bytes.Equal(message, plain))
				_, err = decrypter.Decrypt(nil, ciphertext, &rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte("another")})
				require.ErrorIs(t, err, provider.ErrInvalid)
			})
		}
	}
}

func TestTokenAgreesOnAKeyWithOpenSSL(t *testing.T) {
	requireProgram(t, "openssl")
	token := open(t, sharedToken)
	ref := createKey(t, token, provider.X25519)
	jwk, err := token.PublicJWK(t.Context(), ref.KID, 0)
	require.NoError(t, err)
	dir := t.TempDir()
	peer, secret := filepath.Join(dir, "peer.pem"), filepath.Join(dir, "secret")
	runProgram(t, nil, "openssl", "genpkey", "-algorithm", "x25519", "-out", peer)
	runProgram(t, nil, "openssl", "pkeyutl", "-derive", "-inkey", peer, "-peerkey", writePublic(t, dir, jwk.PublicKey()), "-out", secret)
	want, err := os.ReadFile(secret)
	require.NoError(t, err)

	block, _ := pem.Decode([]byte(runProgram(t, nil, "openssl", "pkey", "-in", peer, "-pubout")))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	got, err := token.ECDH(t.Context(), ref.KID, 0, public.(*ecdh.PublicKey))
	require.NoError(t, err)
	require.Equal(t, want, got.Expose())
}
