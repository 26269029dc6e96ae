package mirror

import (
	"context"
	"crypto"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// What is put together here is a JWS to another implementation, for every algorithm that a manifest key may have.
func TestSealedIsOpenedByALibrary(t *testing.T) {
	f := providertest.NewFake(t)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	for _, alg := range provider.Algs() {
		if !alg.Signs() {
			continue
		}
		t.Run(string(alg), func(t *testing.T) {
			spec := provider.KeySpec{KID: ManifestKID, Alg: alg}
			if alg.KeyType() == "RSA" {
				spec.Bits = provider.MinRSABits
			}
			ref, err := f.CreateKey(t.Context(), spec)
			require.NoError(t, err)
			s, err := f.Signer(t.Context(), ManifestKID, ref.Version)
			require.NoError(t, err)
			text, hash, err := sealJWS(t.Context(), s, manifestType, []byte(`{"a":1}`), nil)
			require.NoError(t, err)
			require.Equal(t, hashOf(text), hash)
			key, version, payload, err := openJWS(text, manifestType)
			require.NoError(t, err)
			require.Equal(t, ref.Fingerprint, key.Thumbprint())
			require.Equal(t, ref.Version, version)
			require.Equal(t, `{"a":1}`, string(payload))

			for i := range text {
				changed := slices.Clone(text)
				changed[i] = '!'
				_, _, _, err := openJWS(changed, manifestType)
				require.ErrorIs(t, err, provider.ErrTampered)
			}
			_, _, _, err = openJWS(text, successionType)
			require.ErrorIs(t, err, provider.ErrTampered)
			_, err = f.DestroyKey(t.Context(), ManifestKID, ref.Version)
			require.NoError(t, err)
		})
	}
}

// garbled is a signer whose signatures are none.
type garbled struct {
	provider.Signer
	signature []byte
}

func (g garbled) SignContext(context.Context, []byte, crypto.SignerOpts) ([]byte, error) {
	return g.signature, nil
}

func TestSignatureThatIsNoneIsNotSealed(t *testing.T) {
	f := providertest.NewFake(t)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	_, err := f.CreateKey(t.Context(), provider.KeySpec{KID: ManifestKID, Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	s, err := f.Signer(t.Context(), ManifestKID, 1)
	require.NoError(t, err)
	for name, signature := range map[string][]byte{
		"empty":                   {},
		"r and s without ASN.1":   make([]byte, 64),
		"r of zero":               {0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x01},
		"s below zero":            {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0xff},
		"bytes after it":          {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00},
		"r larger than the curve": slices.Concat([]byte{0x30, 0x26, 0x02, 0x21, 1}, make([]byte, 32), []byte{0x02, 0x01, 0x01}),
	} {
		_, _, err := sealJWS(t.Context(), garbled{s, signature}, manifestType, []byte("{}"), nil)
		require.ErrorIs(t, err, provider.ErrTampered, name)
	}
}
