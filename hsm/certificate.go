package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"

	"github.com/hsmmirror/hsmmirror/provider"
)

// StoreCertificate stores an X.509 certificate in DER as a token object under the CKA_ID and label of a version (0: the highest),
// where programs that work by PKCS#11 look for it. Storing the same again changes nothing. [provider.ErrInvalid] unless it is a
// certificate of that version's public half; ErrUnsupported for a symmetric key, or if the token takes none; ErrNotFound.
func (t *Token) StoreCertificate(ctx context.Context, kid string, version int, der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return provider.Invalidf("certificate of %d bytes: want X.509 in DER", len(der))
	}
	_, v, err := t.lookupVersion(ctx, kid, version)
	if err != nil {
		return err
	}
	switch k, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); {
	case v.public == nil:
		return provider.Unsupportedf("certificate of %q: a %s key is symmetric", v.jwkKID(), v.Alg)
	case !ok || !k.Equal(v.public):
		return provider.Invalidf("the certificate is of another key than %q", v.jwkKID())
	}
	unlock, err := t.lock(ctx, v.KID)
	if err != nil {
		return err
	}
	defer unlock()
	stored, err := t.link.find(ctx, attribute{ckaClass, uint(ckoCertificate)}, attribute{ckaID, v.idBytes()}, attribute{ckaValue, cert.Raw})
	if err != nil || len(stored) > 0 {
		return err
	}
	serial, err := asn1.Marshal(cert.SerialNumber)
	if err != nil {
		return err
	}
	return t.link.create(ctx, []attribute{
		{ckaClass, uint(ckoCertificate)}, {ckaCertificateType, uint(0)}, {ckaToken, true}, {ckaPrivate, false},
		{ckaLabel, objectLabel(v.KID, v.Version)}, {ckaID, v.idBytes()}, {ckaSubject, bytes.Clone(cert.RawSubject)},
		{ckaIssuer, bytes.Clone(cert.RawIssuer)}, {ckaSerialNumber, serial}, {ckaValue, bytes.Clone(cert.Raw)},
	})
}

// The attributes of certificates (PKCS#11 v3.0 section 4.6.3).
const (
	ckaCertificateType = 0x080
	ckaIssuer          = 0x081
	ckaSerialNumber    = 0x082
	ckaSubject         = 0x101
)
