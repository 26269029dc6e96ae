//go:build unix

package softfile

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// benchKID is the kid of the i-th key of a store that a benchmark filled.
func benchKID(i int) string { return fmt.Sprintf("key-%05d", i) }

// benchCopy returns the i-th public key, as a mirror would put it into its secondary.
func benchCopy(b *testing.B, i int) (provider.KeyRef, provider.KeyMaterial) {
	b.Helper()
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, uint64(i))
	public := ed25519.NewKeyFromSeed(seed).Public()
	material, err := provider.PublicMaterial(public)
	require.NoError(b, err)
	thumbprint, err := provider.Thumbprint(public)
	require.NoError(b, err)
	return provider.KeyRef{KID: benchKID(i), Version: 1, Alg: provider.Ed25519, Bits: 256, Fingerprint: thumbprint}, material
}

func benchPut(b *testing.B, s *Store, i int) {
	b.Helper()
	ref, material := benchCopy(b, i)
	require.NoError(b, second(s.PutVersion(b.Context(), ref, material)))
}

// filled returns a public store of n keys in a new directory, whose file operations f counts.
func filled(b *testing.B, n int, f *faulty) *Store {
	b.Helper()
	s, err := open(context.Background(), Config{Dir: b.TempDir()}, f.hook, quickly)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	for i := range n {
		benchPut(b, s, i)
	}
	return s
}

// BenchmarkRead reads from an open store that no one changes. The looks at the directory, one a second, are part of it.
func BenchmarkRead(b *testing.B) {
	var f faulty
	s := filled(b, 1000, &f)
	reads := map[string]func(context.Context, string, int) error{
		"GetKey":    func(ctx context.Context, kid string, n int) error { return second(s.GetKey(ctx, kid, n)) },
		"PublicJWK": func(ctx context.Context, kid string, n int) error { return second(s.PublicJWK(ctx, kid, n)) },
	}
	for name, read := range reads {
		b.Run(name, func(b *testing.B) {
			require.NoError(b, s.Health(b.Context()))
			ctx := context.Background()
			before := f.count.Load()
			for i := 0; b.Loop(); i++ {
				if err := read(ctx, benchKIDs[i%len(benchKIDs)], 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(f.count.Load()-before)/float64(b.N), "fileops/op")
		})
	}
}

// benchKIDs are made beforehand, so that making them is not measured.
var benchKIDs = func() (kids [1000]string) {
	for i := range kids {
		kids[i] = benchKID(i)
	}
	return kids
}()

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// BenchmarkJWKS serves the set of all keys of an open store that no one changes.
func BenchmarkJWKS(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		var f faulty
		s := filled(b, n, &f)
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			require.NoError(b, second(s.JWKS(b.Context(), "")))
			ctx := context.Background()
			before := f.count.Load()
			var served counter
			for b.Loop() {
				set, err := s.JWKS(ctx, "")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := set.WriteTo(&served); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(f.count.Load()-before)/float64(b.N), "fileops/op")
			b.ReportMetric(float64(served)/float64(b.N), "bytes/op")
		})
	}
}

// BenchmarkOpen opens a store of 10,000 keys, and says how much memory it then holds for each.
func BenchmarkOpen(b *testing.B) {
	const n = 10_000
	var f faulty
	dir := filled(b, n, &f).path
	b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
		var held uint64
		for b.Loop() {
			b.StopTimer()
			before := heap()
			b.StartTimer()
			s, err := Open(b.Context(), Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			held = heap() - before
			runtime.KeepAlive(s)
			require.NoError(b, s.Close())
			b.StartTimer()
		}
		b.ReportMetric(float64(held)/n, "held-B/key")
	})
}

// heap returns how much memory is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
