//go:build cgo

package hsm

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

const serverName = "signer.test"

// newCertificate makes a certificate for public, signed by signer; without a parent it is its own.
func newCertificate(t testing.TB, parent *x509.Certificate, public crypto.PublicKey, signer provider.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "leaf"},
		DNSNames:              []string{serverName},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		SignatureAlgorithm:    certificateAlgorithm(signer),
	}
	if parent == nil {
		template.Subject.CommonName = "root"
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// certificateAlgorithm says what crypto/x509 can't see from an RSA key. The zero value lets it choose.
func certificateAlgorithm(signer provider.Signer) x509.SignatureAlgorithm {
	if signer.KeyRef().Alg == provider.RSAPSSSHA256 {
		return x509.SHA256WithRSAPSS
	}
	return x509.UnknownSignatureAlgorithm
}

func TestCertificatesVerifyElsewhere(t *testing.T) {
	requireProgram(t, "openssl")
	token := open(t, sharedToken)
	for _, alg := range provider.Algs() {
		if !alg.Signs() {
			continue
		}
		t.Run(string(alg), func(t *testing.T) {
			dir := t.TempDir()
			signer := signerOf(t, token, createKey(t, token, alg))
			root := newCertificate(t, nil, signer.Public(), signer)
			leaf := newCertificate(t, root, generatePublic(t, curveP256), signer)
			require.NoError(t, root.CheckSignature(root.SignatureAlgorithm, root.RawTBSCertificate, root.Signature))
			require.NoError(t, leaf.CheckSignatureFrom(root))
			rootFile := writePEM(t, dir, "root.pem", "CERTIFICATE", root.Raw)
			leafFile := writePEM(t, dir, "leaf.pem", "CERTIFICATE", leaf.Raw)
			runProgram(t, nil, "openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", rootFile, rootFile)
			runProgram(t, nil, "openssl", "verify", "-partial_chain", "-trusted", rootFile, leafFile)

			request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{SignatureAlgorithm: certificateAlgorithm(signer)}, signer)
			require.NoError(t, err)
			runProgram(t, nil, "openssl", "req", "-verify", "-noout", "-in", writePEM(t, dir, "request.pem", "CERTIFICATE REQUEST", request))
		})
	}
}

func TestTLSHandshakeWithOpenSSL(t *testing.T) {
	requireProgram(t, "openssl")
	token := open(t, sharedToken)
	tests := []struct {
		alg  provider.KeyAlg
		says string // what OpenSSL calls the server's signature, a pattern
	}{
		{provider.ECDSAP256SHA256, "ecdsa"},
		{provider.ECDSAP384SHA384, "ecdsa"},
		{provider.RSAPSSSHA256, "rsa.pss"},
		{provider.Ed25519, "ed25519"},
	}
	for _, tt := range tests {
		t.Run(string(tt.alg), func(t *testing.T) {
			signer := signerOf(t, token, createKey(t, token, tt.alg))
			root := newCertificate(t, nil, signer.Public(), signer)
			listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
				Certificates: []tls.Certificate{{Certificate: [][]byte{root.Raw}, PrivateKey: signer, Leaf: root}},
				MinVersion:   tls.VersionTLS13,
			})
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- serveOnce(listener) }()

			out, err := tryProgram(t, nil, "openssl", "s_client", "-connect", listener.Addr().String(), "-servername", serverName, "-verify_hostname", serverName,
				"-tls1_3", "-brief", "-ign_eof", "-verify_return_error", "-CAfile", writePEM(t, t.TempDir(), "root.pem", "CERTIFICATE", root.Raw))
			require.NoError(t, listener.Close())
			require.NoError(t, <-served, out)
			require.NoError(t, err, out)
			for _, want := range []string{"Protocol version: TLSv1.3", "Verification: OK", "(?i)signature type: " + tt.says, "(?m)^hello$"} {
				require.Regexp(t, want, out)
			}
		})
	}
}

// serveOnce greets one client.
func serveOnce(listener net.Listener) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "hello\n")
	return err
}
