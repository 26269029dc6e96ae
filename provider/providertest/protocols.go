package providertest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/hsmmirror/hsmmirror/provider"
)

// testProtocols checks that a signer is a crypto.Signer that the world's libraries take as it is.
func (s *suite) testProtocols(t *testing.T) {
	optional[provider.Signing](t, s.p, "Signing")
	for _, alg := range s.algs(creates, uses, signs) {
		t.Run(string(alg)+" signs a JWT that the JWKS verifies", func(t *testing.T) { s.testJWT(t, alg) })
		t.Run(string(alg)+" signs a certificate", func(t *testing.T) { s.certificate(t, alg) })
		t.Run(string(alg)+" answers a TLS handshake", func(t *testing.T) { s.testTLS(t, alg) })
		if alg != provider.RSAPSSSHA256 { // SSH has no PSS
			t.Run(string(alg)+" signs for SSH", func(t *testing.T) { s.testSSH(t, alg) })
		}
	}
}

func (s *suite) testJWT(t *testing.T, alg provider.KeyAlg) {
	ref := s.key(t, alg)
	token, err := jwt.NewBuilder().Subject("alice").Expiration(time.Now().Add(time.Hour)).Build()
	require.NoError(t, err)
	headers := jws.NewHeaders()
	require.NoError(t, headers.Set(jws.KeyIDKey, ref.JWKKID()))
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.SignatureAlgorithm(alg.JWA()), s.signer(t, ref), jws.WithProtectedHeaders(headers)))
	require.NoError(t, err)

	published, err := s.p.JWKS(t.Context(), ref.KID)
	require.NoError(t, err)
	set, err := published.Set()
	require.NoError(t, err)
	got, err := jwt.Parse(signed, jwt.WithKeySet(set))
	require.NoError(t, err)
	require.Equal(t, "alice", got.Subject())
	tampered := bytes.Replace(signed, []byte("."), []byte(".A"), 1)
	_, err = jwt.Parse(tampered, jwt.WithKeySet(set))
	require.Error(t, err)
}

// certificate returns a self-signed certificate for the shared key of alg.
func (s *suite) certificate(t *testing.T, alg provider.KeyAlg) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "store.test"},
		DNSNames:     []string{"store.test"},
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if alg == provider.RSAPSSSHA256 {
		template.SignatureAlgorithm = x509.SHA256WithRSAPSS
	}
	signer := s.signer(t, s.key(t, alg))
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.NoError(t, cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature))
	return cert
}

func (s *suite) testTLS(t *testing.T, alg provider.KeyAlg) {
	cert := s.certificate(t, alg)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	own := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: s.signer(t, s.key(t, alg)), Leaf: cert}
	version := uint16(tls.VersionTLS13)
	if alg == provider.RSAPKCS1SHA256 { // TLS 1.3 signs with PSS only
		own.SupportedSignatureAlgorithms, version = []tls.SignatureScheme{tls.PKCS1WithSHA256}, tls.VersionTLS12
	}
	there, here := net.Pipe()
	server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: version, MaxVersion: version})
	done := make(chan error, 1)
	go func() {
		_, err := server.Write([]byte("hello"))
		done <- err
		_ = there.Close()
	}()
	client := tls.Client(here, &tls.Config{RootCAs: roots, ServerName: "store.test", MinVersion: version})
	greeting := make([]byte, 5)
	_, err := io.ReadFull(client, greeting)
	_ = here.Close()
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Equal(t, "hello", string(greeting))
}

func (s *suite) testSSH(t *testing.T, alg provider.KeyAlg) {
	signer, err := ssh.NewSignerFromSigner(s.signer(t, s.key(t, alg)))
	require.NoError(t, err)
	message := []byte("a session")
	var signature *ssh.Signature
	if a, ok := signer.(ssh.AlgorithmSigner); ok && alg == provider.RSAPKCS1SHA256 { // the default would be SHA-1
		signature, err = a.SignWithAlgorithm(rand.Reader, message, ssh.KeyAlgoRSASHA256)
	} else {
		signature, err = signer.Sign(rand.Reader, message)
	}
	require.NoError(t, err)
	require.NoError(t, signer.PublicKey().Verify(message, signature))
}
