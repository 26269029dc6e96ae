package mirror_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// A key is made through the mirror and destroyed on the primary itself: its public half is still read through the mirror,
// and the answer says where it came from.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "mirror-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	passphrase := func(context.Context) (provider.Secret, error) {
		return provider.NewSecret([]byte("for the example")), nil
	}
	primary, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(dir, "primary"), Passphrase: passphrase})
	if err != nil {
		log.Fatal(err)
	}
	secondary, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(dir, "secondary")})
	if err != nil {
		log.Fatal(err)
	}
	m, err := mirror.New(primary, secondary, mirror.Config{ManifestDir: filepath.Join(dir, "state")})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	key, err := m.CreateKey(ctx, provider.KeySpec{KID: "releases", Alg: provider.Ed25519})
	if err != nil {
		log.Fatal(err)
	}
	before, err := m.PublicJWK(ctx, key.KID, key.Version)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := primary.DestroyKey(ctx, key.KID, key.Version); err != nil {
		log.Fatal(err)
	}
	after, err := m.PublicJWK(ctx, key.KID, key.Version)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("mirrored:", key.Mirroring.Mirrored)
	fmt.Println("the same x:", x(before) == x(after))
	fmt.Println("before, from the", before.Provenance.Source)
	fmt.Println("after, from the", after.Provenance.Source, "as an orphan:", after.Provenance.Orphan)
	// Output:
	// mirrored: true
	// the same x: true
	// before, from the primary
	// after, from the mirror as an orphan: true
}

// x returns the x member of a JWK.
func x(key provider.JWK) string {
	var members struct{ X string }
	if err := json.Unmarshal(key.JSON(), &members); err != nil {
		log.Fatal(err)
	}
	return members.X
}

// A verifier has no token: it reads what the signing service's Mirror keeps, or a copy of it, and trusts no more of it than the
// token has signed. The service tells it the pin once ([mirror.Mirror.ManifestPin], or "hsmmirror mirror pin").
func ExampleNewReader() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "mirror-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pin := serve(ctx, dir)

	store, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(dir, "keys")})
	if err != nil {
		log.Fatal(err)
	}
	reader, err := mirror.NewReader(store, mirror.Config{
		ManifestDir: filepath.Join(dir, "mirror"), Pin: pin, StateDir: filepath.Join(dir, "reader"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Close()
	set, err := reader.JWKS(ctx, "") // ask again for each token, or every few seconds: it answers from memory
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range set.Keys() {
		fmt.Println(key.JWKKID(), "from the", set.Provenance.Source, "vouched for by the token:", !set.Provenance.Unauthenticated)
	}
	// Output: payments.1 from the mirror vouched for by the token: true
}

// serve is the signing service, whose primary is a fake here. It returns the pin.
func serve(ctx context.Context, dir string) (pin string) {
	store, err := softfile.Open(ctx, softfile.Config{Dir: filepath.Join(dir, "keys")})
	if err != nil {
		log.Fatal(err)
	}
	keys, err := mirror.New(providertest.NewFake(nil), store, mirror.Config{ManifestDir: filepath.Join(dir, "mirror")})
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Close()
	if _, err := keys.CreateKey(ctx, provider.KeySpec{KID: "payments", Alg: provider.ECDSAP256SHA256}); err != nil {
		log.Fatal(err)
	}
	if pin, err = keys.ManifestPin(ctx); err != nil {
		log.Fatal(err)
	}
	return pin
}
