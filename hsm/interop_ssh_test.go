//go:build cgo

package hsm

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/hsmmirror/hsmmirror/provider"
)

// TestSSHKeygenVerifies signs a file in the format of "ssh-keygen -Y sign" (PROTOCOL.sshsig of OpenSSH).
func TestSSHKeygenVerifies(t *testing.T) {
	requireProgram(t, "ssh-keygen")
	token := open(t, sharedToken)
	tests := []struct {
		alg provider.KeyAlg
		ssh string // SSH's name of the signature
	}{
		{provider.ECDSAP256SHA256, ssh.KeyAlgoECDSA256},
		{provider.ECDSAP384SHA384, ssh.KeyAlgoECDSA384},
		{provider.ECDSAP521SHA512, ssh.KeyAlgoECDSA521},
		{provider.Ed25519, ssh.KeyAlgoED25519},
		{provider.RSAPKCS1SHA256, ssh.KeyAlgoRSASHA256},
		{provider.RSAPKCS1SHA256, ssh.KeyAlgoRSASHA512},
	}
	for _, tt := range tests {
		t.Run(tt.ssh, func(t *testing.T) {
			dir, message := t.TempDir(), []byte("a release\n")
			signer, err := ssh.NewSignerFromSigner(signerOf(t, token, createKey(t, token, tt.alg)))
			require.NoError(t, err)
			sig := writeFile(t, dir, "message.sig", sshSignature(t, signer.(ssh.AlgorithmSigner), tt.ssh, "file", message))
			allowed := writeFile(t, dir, "allowed", fmt.Appendf(nil, "signer@example.org %s", ssh.MarshalAuthorizedKey(signer.PublicKey())))
			verify := func(namespace string) []string {
				return []string{"-Y", "verify", "-f", allowed, "-I", "signer@example.org", "-n", namespace, "-s", sig}
			}
			out := runProgram(t, message, "ssh-keygen", verify("file")...)
			require.Contains(t, out, `Good "file" signature for signer@example.org`)

			out, err = tryProgram(t, []byte("another\n"), "ssh-keygen", verify("file")...)
			require.Error(t, err, out)
			out, err = tryProgram(t, message, "ssh-keygen", verify("git")...)
			require.Error(t, err, out)
		})
	}
}

// sshSignature returns an armored SSHSIG of message, with SHA-512 over it.
func sshSignature(t testing.TB, signer ssh.AlgorithmSigner, algorithm, namespace string, message []byte) []byte {
	t.Helper()
	hash := sha512.Sum512(message)
	signed := ssh.Marshal(struct{ Namespace, Reserved, Hash, Digest string }{namespace, "", "sha512", string(hash[:])})
	signature, err := signer.SignWithAlgorithm(rand.Reader, append([]byte("SSHSIG"), signed...), algorithm)
	require.NoError(t, err)
	blob := ssh.Marshal(struct {
		Version                                         uint32
		PublicKey, Namespace, Reserved, Hash, Signature string
	}{1, string(signer.PublicKey().Marshal()), namespace, "", "sha512", string(ssh.Marshal(signature))})
	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: append([]byte("SSHSIG"), blob...)})
}
