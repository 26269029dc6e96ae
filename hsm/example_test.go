package hsm_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/secretsource"
)

// Where the token is. The file with its PIN must be readable by this user alone.
var (
	module  = "/usr/lib/softhsm/libsofthsm2.so"
	label   = "payments"
	pinFile = "/etc/payments.pin"
)

// A service makes its key at its first start, signs, and publishes what verifies the signature.
func Example() {
	ctx := context.Background()
	token, err := hsm.Open(ctx, hsm.Config{Module: module, Label: label, PIN: secretsource.File(pinFile)})
	if err != nil {
		log.Fatal(err)
	}
	defer token.Close()

	_, err = token.CreateKey(ctx, provider.KeySpec{KID: "invoices", Alg: provider.ECDSAP256SHA256})
	if err != nil && !errors.Is(err, provider.ErrExists) {
		log.Fatal(err)
	}
	signer, err := token.Signer(ctx, "invoices", 0) // the active version; a crypto.Signer too
	if err != nil {
		log.Fatal(err)
	}
	message := []byte("invoice 42")
	digest := sha256.Sum256(message)
	signature, err := signer.SignContext(ctx, digest[:], crypto.SHA256)
	if err != nil {
		log.Fatal(err)
	}

	set, err := token.JWKS(ctx, "invoices") // set.JSON() is for /.well-known/jwks.json
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range set.Keys() {
		fmt.Println(key.JWKKID(), key.State, "verifies:", key.Verify(message, signature) == nil)
	}
}
