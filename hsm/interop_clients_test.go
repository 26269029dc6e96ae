//go:build cgo && unix

package hsm

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// gnuTLS runs a program of GnuTLS on the module of the tests, with the PIN of the shared token.
func gnuTLS(t testing.TB, program string, args ...string) {
	t.Helper()
	t.Setenv("GNUTLS_PIN", string(softhsmtest.Token(t, sharedToken).PIN.Expose()))
	runProgram(t, nil, program, append([]string{"--provider", softhsmtest.Get(t).Module}, args...)...)
}

func TestGnuTLSCertifiesWithOurKeyByItsURI(t *testing.T) {
	requireProgram(t, "certtool")
	token := open(t, sharedToken)
	template := writeFile(t, t.TempDir(), "template", []byte("cn = gnutls\nexpiration_days = 1\n"))
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.ECDSAP384SHA384, provider.Ed25519, provider.RSAPKCS1SHA256} {
		t.Run(string(alg), func(t *testing.T) {
			ref := createKey(t, token, alg)
			private, out := objectOf(t, token, "CKO_PRIVATE_KEY", ref.KID+".v1"), filepath.Join(t.TempDir(), "cert")
			gnuTLS(t, "certtool", "--generate-self-signed", "--template", template, "--load-privkey", private.URI, "--outfile", out)
			text, err := os.ReadFile(out)
			require.NoError(t, err)
			block, _ := pem.Decode(text)
			require.NotNil(t, block)
			cert, err := x509.ParseCertificate(block.Bytes)
			require.NoError(t, err)
			require.Equal(t, signerOf(t, token, ref).Public(), cert.PublicKey)
			require.NoError(t, cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature))
		})
	}
}

func TestKeysOfP11toolSignOnceAdopted(t *testing.T) {
	requireProgram(t, "p11tool")
	token := open(t, sharedToken)
	tests := []struct {
		name string
		make []string
		alg  provider.KeyAlg
	}{
		{"P-256", []string{"--generate-privkey=ecdsa", "--curve=secp256r1"}, provider.ECDSAP256SHA256},
		{"P-384", []string{"--generate-privkey=ecdsa", "--curve=secp384r1"}, provider.ECDSAP384SHA384},
		{"RSA", []string{"--generate-privkey=rsa", "--bits=2048"}, provider.RSAPKCS1SHA256},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			label := foreignLabel(t, token)
			gnuTLS(t, "p11tool", append(tt.make, "--login", "--label", label, "--id", newID(t, token), "--outfile", filepath.Join(t.TempDir(), "public"), "pkcs11:token="+sharedToken)...)
			ref, err := token.Adopt(t.Context(), Adoption{Label: label, Alg: tt.alg})
			require.NoError(t, err)
			requireSigns(t, token, ref)
			_, err = token.DestroyKey(t.Context(), ref.KID, provider.AllVersions)
			require.NoError(t, err)
		})
	}
}

func TestSSHAgentSignsWithOurKeys(t *testing.T) {
	for _, program := range []string{"ssh-agent", "ssh-add", "ssh-keygen"} {
		requireProgram(t, program)
	}
	token := open(t, sharedToken)
	keys := []provider.KeyRef{createKey(t, token, provider.ECDSAP256SHA256), createKey(t, token, provider.RSAPKCS1SHA256)}
	startSSHAgent(t)
	runProgram(t, nil, "ssh-add", "-s", softhsmtest.Get(t).Module)
	for _, ref := range keys {
		t.Run(string(ref.Alg), func(t *testing.T) {
			public, err := ssh.NewPublicKey(signerOf(t, token, ref).Public())
			require.NoError(t, err)
			dir, line := t.TempDir(), ssh.MarshalAuthorizedKey(public)
			message := writeFile(t, dir, "message", []byte("a release\n"))
			runProgram(t, nil, "ssh-keygen", "-Y", "sign", "-f", writeFile(t, dir, "key.pub", line), "-n", "file", message)
			out := runProgram(t, []byte("a release\n"), "ssh-keygen", "-Y", "verify", "-f", writeFile(t, dir, "allowed", fmt.Appendf(nil, "signer@example.org %s", line)),
				"-I", "signer@example.org", "-n", "file", "-s", message+".sig")
			require.Contains(t, out, "Good")
		})
	}
}

// A certificate authority of OpenSSH's own, with the key on the token.
func TestSSHKeygenCertifiesWithOurKeys(t *testing.T) {
	requireProgram(t, "ssh-keygen")
	token := open(t, sharedToken)
	answerSSH(t)
	user, err := ssh.NewPublicKey(generatePublic(t, curveP256))
	require.NoError(t, err)
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.ECDSAP384SHA384, provider.RSAPKCS1SHA256} {
		t.Run(string(alg), func(t *testing.T) {
			authority, err := ssh.NewPublicKey(signerOf(t, token, createKey(t, token, alg)).Public())
			require.NoError(t, err)
			dir := t.TempDir()
			runProgram(t, nil, "ssh-keygen", "-D", softhsmtest.Get(t).Module, "-s", writeFile(t, dir, "ca.pub", ssh.MarshalAuthorizedKey(authority)),
				"-I", "alice@example.org", "-n", "alice", writeFile(t, dir, "user.pub", ssh.MarshalAuthorizedKey(user)))
			line, err := os.ReadFile(filepath.Join(dir, "user-cert.pub"))
			require.NoError(t, err)
			key, _, _, _, err := ssh.ParseAuthorizedKey(line)
			require.NoError(t, err)
			checker := ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), authority.Marshal()) }}
			require.NoError(t, checker.CheckCert("alice", key.(*ssh.Certificate)))
			require.Equal(t, authority.Marshal(), key.(*ssh.Certificate).SignatureKey.Marshal())
		})
	}
}

// answerSSH answers the question of OpenSSH's programs for the PIN of the shared token.
func answerSSH(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	pin := writeFile(t, dir, "pin", softhsmtest.Token(t, sharedToken).PIN.Expose())
	ask := writeFile(t, dir, "ask", fmt.Appendf(nil, "#!/bin/sh\nexec cat %s\n", pin))
	require.NoError(t, os.Chmod(ask, 0o700))
	t.Setenv("SSH_ASKPASS", ask)
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
}

// startSSHAgent starts an agent that may load the module of the tests, and answers the question for its PIN.
func startSSHAgent(t testing.TB) {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's path has to be short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	answerSSH(t)
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "socket"))

	module, err := filepath.EvalSymlinks(softhsmtest.Get(t).Module)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	agent := exec.CommandContext(ctx, "ssh-agent", "-D", "-a", os.Getenv("SSH_AUTH_SOCK"), "-P", module)
	var out bytes.Buffer
	agent.Stdout, agent.Stderr = &out, &out
	require.NoError(t, agent.Start())
	t.Cleanup(func() {
		stop()
		_ = agent.Wait() // it was killed
		t.Logf("ssh-agent: %s", &out)
	})
	require.Eventually(t, func() bool {
		_, err := os.Stat(os.Getenv("SSH_AUTH_SOCK"))
		return err == nil
	}, time.Minute, 10*time.Millisecond)
}
