package mirror

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestAMirrorAndItsKeysPrintAsNoMoreThanNames(t *testing.T) {
	r := newRig(t, Config{})
	_, err := r.CreateKey(t.Context(), provider.KeySpec{KID: "sign", Alg: provider.Ed25519})
	require.NoError(t, err)
	_, err = r.CreateKey(t.Context(), provider.KeySpec{KID: "mac", Alg: provider.HMACSHA256})
	require.NoError(t, err)
	signer, err := r.Signer(t.Context(), "sign", 0)
	require.NoError(t, err)
	mac, err := r.MAC(t.Context(), "mac", 0)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		require.Equal(t, "mirror.Mirror", fmt.Sprintf(verb, r.Mirror))
		require.Equal(t, "key of mirror.Mirror", fmt.Sprintf(verb, signer))
		require.Equal(t, "key of mirror.Mirror", fmt.Sprintf(verb, mac))
	}
}
