package mirror

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// benched returns a Mirror of a fake, which answers each JWKS afresh, and a keystore, with a pin, and n keys on both.
func benched(b *testing.B, n int) (*Mirror, *providertest.Fake) {
	b.Helper()
	primary := providertest.NewFake(nil)
	secondary, err := softfile.Open(b.Context(), softfile.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	for i := range n {
		_, err := primary.CreateKey(b.Context(), provider.KeySpec{KID: fmt.Sprint("k", i), Alg: provider.Ed25519})
		require.NoError(b, err)
	}
	cfg := Config{ManifestDir: b.TempDir(), StateDir: b.TempDir()}
	m, err := New(primary.Reopen(), secondary, cfg)
	require.NoError(b, err)
	_, err = m.Reconcile(b.Context())
	require.NoError(b, err)
	pin, err := m.ManifestPin(b.Context())
	require.NoError(b, err)
	m.cfg.Pin, m.state.reader.pin = pin, pin
	b.Cleanup(func() { require.NoError(b, m.Close()) })
	return m, primary
}

// BenchmarkReads measures reads of 1,000 keys, as served bytes: from the primary, and from the secondary during an outage,
// each held against the manifest.
func BenchmarkReads(b *testing.B) {
	const keys = 1000
	m, primary := benched(b, keys)
	for _, from := range []string{"primary", "secondary"} {
		if from == "secondary" {
			primary.Unplug()
		}
		b.Run("PublicJWK/"+from, func(b *testing.B) {
			for b.Loop() {
				k, err := m.PublicJWK(b.Context(), "k500", 1)
				if err != nil || len(k.JSON()) == 0 {
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
				if _, err := set.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUnion measures what an orphan costs a healthy primary's set of 1,000 keys: the first time, and while nothing changes.
func BenchmarkUnion(b *testing.B) {
	m, primary := benched(b, 1000)
	primary.Forget("k500", 1)
	set, err := primary.JWKS(b.Context(), "")
	require.NoError(b, err)
	for _, first := range []bool{true, false} {
		b.Run(fmt.Sprintf("first=%t", first), func(b *testing.B) {
			for b.Loop() {
				if first {
					m.united.Store(nil)
				}
				if n := m.union(b.Context(), "", set).Len(); n != 1000 {
					b.Fatal(n)
				}
			}
		})
	}
}

// BenchmarkHang measures reads of 16 readers of 1,000 keys while the primary hangs: the first one, and the 99th percentile of
// those after it.
func BenchmarkHang(b *testing.B) {
	m, primary := benched(b, 1000)
	m.cfg.PrimaryTimeout = 200 * time.Millisecond
	primary.Hang()
	defer primary.Release()
	start := time.Now()
	_, err := m.PublicJWK(b.Context(), "k0", 1)
	require.NoError(b, err)
	first := time.Since(start)
	var mu sync.Mutex
	var all []time.Duration
	b.ResetTimer()
	var readers sync.WaitGroup
	for r := range 16 {
		readers.Go(func() {
			took := make([]time.Duration, 0, b.N)
			for i := range b.N {
				start := time.Now()
				if _, err := m.PublicJWK(b.Context(), fmt.Sprint("k", (r*61+i)%1000), 1); err != nil {
					b.Error(err)
				}
				took = append(took, time.Since(start))
			}
			mu.Lock()
			all = append(all, took...)
			mu.Unlock()
		})
	}
	readers.Wait()
	slices.Sort(all)
	b.ReportMetric(float64(first.Milliseconds()), "first-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
}

// BenchmarkCreate measures a create through the mirror, and the parts of one. They take turns, so that both see the same
// machine. The metrics are medians.
func BenchmarkCreate(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var whole, parts []time.Duration
			var m *Mirror
			var p createParts
			for i := 0; b.Loop(); i++ {
				if i%n == 0 { // there are about n keys, and not ever more
					var primary *providertest.Fake
					m, primary = benched(b, n)
					p = newCreateParts(b, primary)
				}
				start := time.Now()
				ref, err := m.CreateKey(b.Context(), provider.KeySpec{Alg: provider.ECDSAP256SHA256})
				middle := time.Now()
				p.run(b)
				whole, parts = append(whole, middle.Sub(start)), append(parts, time.Since(middle))
				if err != nil || !ref.Mirroring.Mirrored {
					b.Fatal(err, ref.Mirroring)
				}
			}
			slices.Sort(whole)
			slices.Sort(parts)
			mid := len(whole) / 2
			b.ReportMetric(float64(whole[mid].Microseconds()), "create-us")
			b.ReportMetric(float64(parts[mid].Microseconds()), "parts-us")
			b.ReportMetric(float64(whole[mid])/float64(parts[mid]), "times")
		})
	}
}

// createParts does what a create through the mirror is made of, and nothing else: the key on the primary, one signature, two
// durable writes of small files.
type createParts struct {
	primary *providertest.Fake
	signer  provider.Signer
	dir     *fileops.Dir
}

func newCreateParts(b *testing.B, primary *providertest.Fake) createParts {
	b.Helper()
	dir, err := openDir(b.TempDir(), nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, dir.Close()) })
	s, err := primary.Signer(b.Context(), ManifestKID, 0)
	require.NoError(b, err)
	return createParts{primary, s, dir}
}

func (p createParts) run(b *testing.B) {
	b.Helper()
	small := make([]byte, 512)
	_, err := p.primary.CreateKey(b.Context(), provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(b, err)
	_, err = p.signer.SignContext(b.Context(), make([]byte, 32), provider.ECDSAP256SHA256.SignerOpts())
	require.NoError(b, err)
	require.NoError(b, p.dir.Replace(provider.NewKID(), small))
	require.NoError(b, p.dir.Replace("small", small))
}
