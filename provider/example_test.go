package provider_test

import (
	"context"
	"fmt"
	"log"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// A service signs with a key that it can't read, and a verifier needs the public half only. The store is named once, in
// Open: here a fake, in a service "pkcs11:token=payments" or "softfile:/var/lib/keys".
func Example() {
	provider.Register("fake", func(context.Context, string) (provider.Provider, error) { return providertest.NewFake(nil), nil })
	ctx := context.Background()

	store, err := provider.Open(ctx, "fake:")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	key, err := store.CreateKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.ECDSAP256SHA256})
	if err != nil {
		log.Fatal(err)
	}

	signer, err := store.(provider.Signing).Signer(ctx, key.KID, 0) // 0: the version that signs now
	if err != nil {
		log.Fatal(err)
	}
	message := []byte("pay alice 100")
	signature, err := signer.SignContext(ctx, key.Alg.Digest(message), key.Alg.SignerOpts())
	if err != nil {
		log.Fatal(err)
	}

	published, err := store.JWKS(ctx, "") // what the service serves to its verifiers
	if err != nil {
		log.Fatal(err)
	}
	public, _ := published.Key("payments.1")
	fmt.Println("signed by payments.1:", public.Verify(message, signature) == nil)
	fmt.Println("answered by the", published.Provenance.Source)
	// Output:
	// signed by payments.1: true
	// answered by the primary
}

// A rotation publishes the new version before it signs, so that no verifier meets a signature whose key it does not have.
func ExampleRotation() {
	ctx := context.Background()
	store := providertest.NewFake(nil)
	defer store.Close()
	if _, err := store.CreateKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.Ed25519}); err != nil {
		log.Fatal(err)
	}
	if _, err := store.RotateKey(ctx, "payments", provider.Rotation{}); err != nil {
		log.Fatal(err)
	}
	versions, err := store.ListVersions(ctx, "payments")
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range versions.Keys {
		fmt.Println(v.JWKKID(), v.State)
	}
	// Output:
	// payments.1 active
	// payments.2 pending
}

// A secret prints as [redacted] wherever it is printed. Expose is the one way to its bytes.
func ExampleSecret() {
	pin := provider.NewSecret([]byte("1234"))
	defer pin.Wipe()
	fmt.Printf("%v %s %x %+v\n", pin, pin, pin, struct{ PIN provider.Secret }{pin})
	fmt.Println(len(pin.Expose()))
	// Output:
	// [redacted] [redacted] [redacted] {PIN:[redacted]}
	// 4
}
