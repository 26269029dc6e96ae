//go:build cgo

package hsm

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestATokenAndItsKeysPrintAsTheirNames(t *testing.T) {
	ctx := context.Background()
	token := open(t, sharedToken)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		require.Equal(t, `hsm.Token("shared")`, fmt.Sprintf(verb, token))
	}
	signing, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	secret, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.AES256GCM})
	require.NoError(t, err)
	signer, err := token.Signer(ctx, signing.KID, 1)
	require.NoError(t, err)
	aead, err := token.AEAD(ctx, secret.KID, 1)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		require.Equal(t, fmt.Sprintf(`hsm.Token("shared") key "%s.1"`, signing.KID), fmt.Sprintf(verb, signer))
		require.Equal(t, fmt.Sprintf(`hsm.Token("shared") key "%s.1"`, secret.KID), fmt.Sprintf(verb, aead))
	}
}
