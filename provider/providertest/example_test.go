package providertest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// A test of a program that uses keys pulls the store from under it. In a test, pass NewFake the test.
func ExampleFake() {
	ctx := context.Background()
	store := providertest.NewFake(nil)
	defer store.Close()
	if _, err := store.CreateKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.Ed25519}); err != nil {
		fmt.Println(err)
	}

	store.Unplug()
	_, err := store.GetKey(ctx, "payments", 0)
	fmt.Println(errors.Is(err, provider.ErrUnavailable), err)

	store.Plug()
	key, err := store.GetKey(ctx, "payments", 0)
	fmt.Println(key.JWKKID(), err)
	fmt.Println("asked", store.Calls("GetKey"), "times")
	// Output:
	// true fake: GetKey: store unavailable: unplugged
	// payments.1 <nil>
	// asked 2 times
}
