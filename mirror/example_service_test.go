package mirror_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/secretsource"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// A signing service on an HSM host. It is compiled and not run: it wants a token.
func Example_service() {
	ctx := context.Background()
	module, dir, state, own := "/usr/lib/softhsm/libsofthsm2.so", "/var/lib/payments/keys", "/var/lib/payments/mirror", "/var/lib/payments-own"
	pin := must(secretsource.Parse("file:/etc/payments/pin"))

	token := must(hsm.New(hsm.Config{Module: module, Label: "demo", PIN: pin}))              // an HSM; connects at the first call
	store := must(softfile.Open(ctx, softfile.Config{Dir: dir}))                             // a directory
	keys := must(mirror.New(token, store, mirror.Config{ManifestDir: state, StateDir: own})) // both, as one provider.Provider
	key := must(keys.CreateKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.ECDSAP256SHA256}))
	set := must(keys.JWKS(ctx, "")) // goes on while the token is away, and set.Provenance says so

	fmt.Println(key.JWKKID(), set.Len())
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func TestTheREADMEShowsTheServiceExample(t *testing.T) {
	source, err := os.ReadFile("example_service_test.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(string(source)) {
		for _, name := range []string{"token", "store", "keys", "key", "set"} {
			if strings.HasPrefix(line, "\t"+name+" := must(") {
				lines = append(lines, strings.TrimPrefix(line, "\t"))
			}
		}
	}
	require.Len(t, lines, 5)
	require.True(t, bytes.Contains(readme, []byte("```go\n"+strings.Join(lines, "")+"```\n")), "README.md shows another example")
}
