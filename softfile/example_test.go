package softfile_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/secretsource"
	"github.com/hsmmirror/hsmmirror/softfile"
)

func Example() {
	ctx := context.Background()
	tmp, err := os.MkdirTemp("", "softfile")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)

	ask := func(context.Context) ([]byte, error) { return []byte("correct horse battery staple"), nil }
	store, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(tmp, "keys"), Passphrase: secretsource.Func(ask)})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	key, err := store.CreateKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.ECDSAP256SHA256})
	if err != nil {
		log.Fatal(err)
	}
	signer, err := store.Signer(ctx, key.KID, 0)
	if err != nil {
		log.Fatal(err)
	}
	message := []byte("pay 10 to Ada")
	signature, err := signer.Sign(nil, key.Alg.Digest(message), key.Alg.SignerOpts())
	if err != nil {
		log.Fatal(err)
	}

	// Whoever verifies needs the directory and no passphrase.
	public, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(tmp, "keys")})
	if err != nil {
		log.Fatal(err)
	}
	defer public.Close()
	jwk, err := public.PublicJWK(ctx, key.KID, key.Version)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(jwk.JWKKID(), "verifies:", jwk.Verify(message, signature) == nil)
	// Output: payments.1 verifies: true
}
