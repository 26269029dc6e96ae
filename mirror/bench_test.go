package mirror

import (
	"fmt"
	"testing"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// BenchmarkReads measures reads of 1,000 keys, from the primary and from the secondary during an outage. The primary is a
// fake, which answers each JWKS afresh.
func BenchmarkReads(b *testing.B) {
	const keys = 1000
	for _, down := range []bool{false, true} {
		primary := providertest.NewFake(nil)
		secondary, err := softfile.Open(b.Context(), softfile.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		m, err := New(primary, secondary, Config{ManifestDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		for i := range keys {
			if _, err := primary.CreateKey(b.Context(), provider.KeySpec{KID: fmt.Sprint("k", i), Alg: provider.Ed25519}); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := m.Reconcile(b.Context()); err != nil {
			b.Fatal(err)
		}
		from := "primary"
		if down {
			primary.Unplug()
			from = "secondary"
		}
		b.Run("PublicJWK/"+from, func(b *testing.B) {
			for b.Loop() {
				if _, err := m.PublicJWK(b.Context(), "k500", 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("JWKS/"+from, func(b *testing.B) {
			for b.Loop() {
				set, err := m.JWKS(b.Context(), "")
				if err != nil || set.Len() != keys {
					b.Fatal(set.Len(), err)
				}
			}
		})
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
