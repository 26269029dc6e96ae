package provider_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log"
	"math/big"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwe"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// A JWT is signed with the version that is active now, and names it in its header, by which verifiers find it in the JWK Set.
func ExampleSigning() {
	ctx := context.Background()
	store := newStore(ctx, provider.KeySpec{KID: "payments", Alg: provider.ECDSAP256SHA256})
	defer store.Close()

	signer, err := store.Signer(ctx, "payments", 0) // anew for each token, and so follows a rotation
	if err != nil {
		log.Fatal(err)
	}
	header := jws.NewHeaders()
	if err := header.Set(jws.KeyIDKey, signer.KeyRef().JWKKID()); err != nil {
		log.Fatal(err)
	}
	token, err := jwt.NewBuilder().Subject("alice").Expiration(time.Now().Add(time.Hour)).Build()
	if err != nil {
		log.Fatal(err)
	}
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.SignatureAlgorithm(signer.KeyRef().Alg.JWA()), signer, jws.WithProtectedHeaders(header)))
	if err != nil {
		log.Fatal(err)
	}

	published, err := store.JWKS(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	set, err := published.Set()
	if err != nil {
		log.Fatal(err)
	}
	read, err := jwt.Parse(signed, jwt.WithKeySet(set))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(read.Subject())
	// Output: alice
}

// A server's certificate is bound to one version: ask for that version, and make a new certificate for the next one. An RSA key for
// TLS is one for RSA_PSS_SHA256, and its certificate says SHA256WithRSAPSS.
func ExampleSigner() {
	ctx := context.Background()
	store := newStore(ctx, provider.KeySpec{KID: "web", Alg: provider.RSAPSSSHA256, Bits: 2048})
	defer store.Close()

	signer, err := store.Signer(ctx, "web", 1)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:       big.NewInt(1),
		Subject:            pkix.Name{CommonName: "example.org"},
		NotBefore:          time.Now(),
		NotAfter:           time.Now().Add(24 * time.Hour),
		SignatureAlgorithm: x509.SHA256WithRSAPSS,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: signer}}}
	fmt.Println(len(config.Certificates), "certificate with the key", signer.KeyRef().JWKKID())
	// Output: 1 certificate with the key web.1
}

// unwrapper lets jwe decrypt with a key that it can't read.
type unwrapper struct{ provider.Decrypter }

func (u unwrapper) DecryptKey(_ jwa.KeyEncryptionAlgorithm, key []byte, _ jwe.Recipient, _ *jwe.Message) ([]byte, error) {
	return u.DecryptContext(context.Background(), key, nil)
}

// A JWE to an RSA_OAEP_SHA256 key: everyone encrypts to the public JWK, and the store unwraps the content key.
func ExampleDecrypter() {
	ctx := context.Background()
	store := newStore(ctx, provider.KeySpec{KID: "inbox", Alg: provider.RSAOAEPSHA256, Bits: 2048})
	defer store.Close()

	public, err := store.PublicJWK(ctx, "inbox", 0)
	if err != nil {
		log.Fatal(err)
	}
	key, err := public.Key()
	if err != nil {
		log.Fatal(err)
	}
	message, err := jwe.Encrypt([]byte("for your eyes only"), jwe.WithKey(jwa.RSA_OAEP_256, key))
	if err != nil {
		log.Fatal(err)
	}

	decrypter, err := store.Decrypter(ctx, "inbox", 0)
	if err != nil {
		log.Fatal(err)
	}
	plain, err := jwe.Decrypt(message, jwe.WithKey(jwa.RSA_OAEP_256, unwrapper{decrypter}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(plain))
	// Output: for your eyes only
}

// newStore returns a store with one key.
func newStore(ctx context.Context, spec provider.KeySpec) *providertest.Fake {
	store := providertest.NewFake(nil)
	if _, err := store.CreateKey(ctx, spec); err != nil {
		log.Fatal(err)
	}
	return store
}
