//go:build unix

package softfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// bareWrite is the least that a durable write of a file costs: a temporary file, its fsync, a rename, and the fsync of the
// directory.
func bareWrite(dir string, i int, data []byte) error {
	temp := filepath.Join(dir, "temp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, fmt.Sprint(i))); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// race does two things in turns, so that what else the machine does slows both, and reports the medians of their times
// and by how much the first takes longer. Each is made for the i-th turn before its time is taken.
func race(b *testing.B, first, second func(i int) func() error) {
	b.Helper()
	var times [2][]time.Duration
	for i := 0; b.Loop(); i++ {
		do := [2]func() error{first(i), second(i)}
		for turn := range 2 {
			which := (i + turn) % 2 // so that neither always finds what the other left in the caches
			start := time.Now()
			err := do[which]()
			times[which] = append(times[which], time.Since(start))
			require.NoError(b, err)
		}
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	a, z := times[0][b.N/2], times[1][b.N/2]
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	b.ReportMetric(float64(a.Nanoseconds())/1e3, "first-µs")
	b.ReportMetric(float64(z.Nanoseconds())/1e3, "second-µs")
	b.ReportMetric(float64(a)/float64(z), "times")
}

// rotated is how many keys take turns at being rotated, so that a key comes to some ten versions.
const rotated = 100

// BenchmarkWrite compares writes of a store with the bare write of the same bytes.
func BenchmarkWrite(b *testing.B) {
	bare := func(b *testing.B, s *Store) func(int) func() error {
		dir, data := b.TempDir(), benchRecord(b, s, benchKID(0))
		return func(i int) func() error { return func() error { return bareWrite(dir, i, data) } }
	}
	b.Run("create-public", func(b *testing.B) {
		s := filled(b, rotated, &faulty{})
		race(b, benchPuts(b, s, rotated), bare(b, s))
	})
	b.Run("rotate-public", func(b *testing.B) {
		s := filled(b, rotated, &faulty{})
		race(b, benchRotations(b, s), bare(b, s))
	})
	b.Run("create", func(b *testing.B) {
		s := benchPrivate(b)
		race(b, func(i int) func() error { return benchCreate(b, s, rotated+i) }, bare(b, s))
	})
	b.Run("rotate", func(b *testing.B) {
		s := benchPrivate(b)
		race(b, func(i int) func() error {
			return func() error { return second(s.RotateKey(b.Context(), benchKID(i%rotated), provider.Rotation{})) }
		}, bare(b, s))
	})
}

// BenchmarkWriteToALargeStore compares the writes of a store of 10,000 keys with those of one of 10.
func BenchmarkWriteToALargeStore(b *testing.B) {
	large := filled(b, 10_000, &faulty{})
	b.Run("create-public", func(b *testing.B) {
		race(b, benchPuts(b, large, 10_000), benchPuts(b, filled(b, 10, &faulty{}), 10))
	})
	b.Run("rotate-public", func(b *testing.B) {
		race(b, benchRotations(b, large), benchRotations(b, filled(b, 10, &faulty{})))
	})
}

// benchPuts puts the first versions of public keys from the n-th on.
func benchPuts(b *testing.B, s *Store, n int) func(i int) func() error {
	return func(i int) func() error {
		ref, material := benchCopy(b, n+i)
		return func() error { return second(s.PutVersion(b.Context(), ref, material)) }
	}
}

// benchRotations puts further versions of the first public keys.
func benchRotations(b *testing.B, s *Store) func(i int) func() error {
	n := min(rotated, len(s.index.entries))
	return func(i int) func() error {
		ref, material := benchCopy(b, i%n)
		ref.Version = 2 + i/n
		return func() error { return second(s.PutVersion(b.Context(), ref, material)) }
	}
}

// benchPrivate returns a store of private keys.
func benchPrivate(b *testing.B) *Store {
	b.Helper()
	s, err := open(context.Background(), Config{Dir: b.TempDir(), Passphrase: passphrase("open sesame")}, nil, quickly)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	for i := range rotated {
		require.NoError(b, benchCreate(b, s, i)())
	}
	return s
}

func benchCreate(b *testing.B, s *Store, i int) func() error {
	return func() error {
		return second(s.CreateKey(b.Context(), provider.KeySpec{KID: benchKID(i), Alg: provider.Ed25519}))
	}
}

func benchRecord(b *testing.B, s *Store, kid string) []byte {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(s.path, filepath.FromSlash(recordPath(kid, 1))))
	require.NoError(b, err)
	return data
}
