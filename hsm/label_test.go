//go:build cgo

package hsm

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// labelsOf returns the label of each key object and certificate with a version's CKA_ID, by class.
func labelsOf(t *testing.T, token *Token, ref provider.KeyRef) map[string][]string {
	t.Helper()
	_, v, err := token.lookupVersion(context.Background(), ref.KID, ref.Version)
	require.NoError(t, err)
	objects, err := token.link.find(context.Background(), attribute{ckaID, v.idBytes()})
	require.NoError(t, err)
	labels := map[string][]string{}
	for _, o := range objects {
		labels[className(o.class)] = append(labels[className(o.class)], o.label)
	}
	for _, list := range labels {
		slices.Sort(list)
	}
	return labels
}

func TestRelabel(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519, provider.AES256GCM, provider.HMACSHA256} {
		t.Run(string(alg), func(t *testing.T) {
			ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg, Label: "for people"})
			require.NoError(t, err)
			label := "web " + ref.KID
			done, err := token.Relabel(ctx, ref.KID, 0, label)
			require.NoError(t, err)
			require.Equal(t, []string{ref.KID + ".v1"}, done.Before)
			require.Equal(t, label, done.Label)
			require.Zero(t, done.Others)
			require.Equal(t, ref.KID, done.Ref.KID)
			require.Equal(t, "for people", done.Ref.Label)
			for _, labels := range labelsOf(t, token, ref) {
				require.Equal(t, []string{label}, labels)
			}
			again, err := token.Relabel(ctx, ref.KID, 1, label)
			require.NoError(t, err)
			require.Equal(t, []string{label}, again.Before)
		})
	}
}

func TestAKeyWithAnotherLabelLivesOn(t *testing.T) {
	ctx := context.Background()
	token, other := open(t, sharedToken), open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	signer, err := token.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)
	jwk, err := token.PublicJWK(ctx, ref.KID, 0)
	require.NoError(t, err)
	label := "web server " + ref.KID
	_, err = token.Relabel(ctx, ref.KID, 1, label)
	require.NoError(t, err)

	digest := ref.Alg.Digest([]byte("message"))
	signature, err := signer.SignContext(ctx, digest, ref.Alg.SignerOpts())
	require.NoError(t, err, "a signer that was there before")
	require.NoError(t, jwk.Verify([]byte("message"), signature))
	seen, err := other.GetKey(ctx, ref.KID, 0)
	require.NoError(t, err, "another process")
	require.Equal(t, ref.Fingerprint, seen.Fingerprint)
	byLabel, err := token.KeyByURI(ctx, "pkcs11:object="+label[:3]+"%20server%20"+ref.KID)
	require.NoError(t, err)
	require.Equal(t, 1, byLabel.Version)

	next, err := token.RotateKey(ctx, ref.KID, provider.Rotation{Windows: &provider.Windows{}})
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"CKO_PRIVATE_KEY": {ref.KID + ".v2"}, "CKO_PUBLIC_KEY": {ref.KID + ".v2"}}, labelsOf(t, token, next))
	twice, err := token.Relabel(ctx, ref.KID, 2, label)
	require.NoError(t, err)
	require.Equal(t, 2, twice.Others, "both halves of version 1")
	_, err = token.KeyByURI(ctx, "pkcs11:object=web%20server%20"+ref.KID)
	require.ErrorIs(t, err, provider.ErrInvalid, "two keys with the label")

	destroyed, err := token.DestroyKey(ctx, ref.KID, provider.AllVersions)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, destroyed.Versions)
	left, err := token.link.find(ctx, attribute{ckaLabel, label})
	require.NoError(t, err)
	require.Empty(t, left)
}

// A certificate that was stored under the key's label follows it; one with a name of its own keeps it.
func TestRelabelTakesTheCertificatesAlong(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	require.NoError(t, token.StoreCertificate(ctx, ref.KID, 0, selfSigned(t, token, ref, 1)))
	require.NoError(t, token.StoreCertificate(ctx, ref.KID, 0, selfSigned(t, token, ref, 2)))
	_, v, err := token.lookupVersion(ctx, ref.KID, 1)
	require.NoError(t, err)
	certificates, err := token.link.find(ctx, attribute{ckaClass, uint(ckoCertificate)}, attribute{ckaID, v.idBytes()})
	require.NoError(t, err)
	require.Len(t, certificates, 2)
	require.NoError(t, token.link.relabel(ctx, certificates[0], "an old name"))

	_, err = token.Relabel(ctx, ref.KID, 0, "web")
	require.NoError(t, err)
	require.Equal(t, map[string][]string{
		"CKO_PRIVATE_KEY": {"web"}, "CKO_PUBLIC_KEY": {"web"}, "CKO_CERTIFICATE": {"an old name", "web"},
	}, labelsOf(t, token, ref))
	require.NoError(t, v.deleteAll(ctx, token))
}

// deleteAll removes what a test has put beside a version's keys.
func (v *version) deleteAll(ctx context.Context, token *Token) error {
	certificates, err := token.link.find(ctx, attribute{ckaClass, uint(ckoCertificate)}, attribute{ckaID, v.idBytes()})
	for _, o := range certificates {
		if err == nil {
			err = token.link.destroy(ctx, o)
		}
	}
	return err
}

func selfSigned(t *testing.T, token *Token, ref provider.KeyRef, serial int64) []byte {
	t.Helper()
	signer, err := token.Signer(context.Background(), ref.KID, ref.Version)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "web"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(nil, template, template, signer.Public(), signer)
	require.NoError(t, err)
	return der
}

func TestRelabelRefusesBeforeAnythingIsTouched(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	tests := []struct {
		name    string
		kid     string
		version int
		label   string
		want    error
	}{
		{"an empty label", ref.KID, 0, "", provider.ErrInvalid},
		{"a control character", ref.KID, 0, "a\x1bb", provider.ErrInvalid},
		{"no such key", "nobody", 0, "web", provider.ErrNotFound},
		{"no such version", ref.KID, 2, "web", provider.ErrNotFound},
		{"a negative version", ref.KID, -1, "web", provider.ErrInvalid},
		{"a name that is none", ".", 0, "web", provider.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := token.Relabel(ctx, tt.kid, tt.version, tt.label)
			require.ErrorIs(t, err, tt.want)
		})
	}
	name := ref.KID + ".v1"
	require.Equal(t, map[string][]string{"CKO_PRIVATE_KEY": {name}, "CKO_PUBLIC_KEY": {name}}, labelsOf(t, token, ref))
}

// A private key that another tool made with CKA_MODIFIABLE false keeps its label, and so does its public half.
func TestRelabelOfAKeyThatCannotBeChanged(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	id := []byte(ref.KID)[:8]
	g := generation{
		alg: generateEC, bits: 256,
		public:  []attribute{{ckaToken, true}, {ckaLabel, "fixed"}, {ckaID, id}, {ckaKeyType, uint(ckkEC)}, {ckaECParams, curveFor(ref.Alg).oid}, {ckaVerify, true}},
		private: []attribute{{ckaToken, true}, {ckaPrivate, true}, {ckaLabel, "fixed"}, {ckaID, id}, {ckaKeyType, uint(ckkEC)}, {ckaSign, true}, {pkcs11.CKA_MODIFIABLE, false}},
	}
	require.NoError(t, token.link.generate(ctx, g))
	adopted, err := token.Adopt(ctx, Adoption{ID: id, Alg: ref.Alg})
	require.NoError(t, err)
	_, err = token.Relabel(ctx, adopted.KID, 0, "web")
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "CKO_PRIVATE_KEY: token \"shared\": C_SetAttributeValue: CKR_ACTION_PROHIBITED")
	require.Equal(t, map[string][]string{"CKO_PRIVATE_KEY": {"fixed"}, "CKO_PUBLIC_KEY": {"fixed"}}, labelsOf(t, token, adopted))
	_, err = token.DestroyKey(ctx, adopted.KID, 1)
	require.NoError(t, err)
}
