package softfile

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestAStoreAndItsKeysPrintAsTheirNames(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	_, err := s.CreateKey(t.Context(), provider.KeySpec{KID: "web", Alg: provider.Ed25519})
	require.NoError(t, err)
	signer, err := s.Signer(t.Context(), "web", 0)
	require.NoError(t, err)
	name := fmt.Sprintf("softfile.Store(%q)", dir)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		require.Equal(t, name, fmt.Sprintf(verb, s))
		require.Equal(t, name+` key "web.1"`, fmt.Sprintf(verb, signer))
	}
}
