//go:build unix

package softfile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

const writerVariable = "SOFTFILE_TEST_WRITE_TO"

// TestMain runs the test binary as another process that writes to a store, when it is told so.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimVariable); dir != "" {
		writeUntilKilled(dir)
	}
	dir := os.Getenv(writerVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := writeToShared(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// writeToShared rotates one key, and makes and destroys others, and prints what was acknowledged.
func writeToShared(dir string) error {
	ctx := context.Background()
	s, err := open(ctx, Config{Dir: dir, Passphrase: passphrase("open sesame")}, nil, quickly)
	if err != nil {
		return err
	}
	defer s.Close()
	for range 25 {
		ref, err := s.RotateKey(ctx, "shared", provider.Rotation{})
		if err != nil {
			return err
		}
		fmt.Println(ref.JWKKID(), ref.Fingerprint)
		own, err := s.CreateKey(ctx, provider.KeySpec{Alg: provider.Ed25519})
		if err != nil {
			return err
		}
		if _, err := s.DestroyKey(ctx, "shared", ref.Version-1); err != nil && !errors.Is(err, provider.ErrNotFound) {
			return err // the other process may have been quicker
		}
		if _, err := s.DestroyKey(ctx, own.KID, 1); err != nil {
			return err
		}
	}
	return nil
}

// The original's defect F06: of two processes that rotated one key, numbers came twice, keys were lost, and halves did not
// fit.
func TestTwoProcessesWriteAndAThirdReads(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	first, err := s.CreateKey(t.Context(), provider.KeySpec{KID: "shared", Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	acknowledged := map[string]string{first.JWKKID(): first.Fingerprint}
	var mu sync.Mutex
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), writerVariable+"="+dir)
			var complaint strings.Builder
			cmd.Stderr = &complaint
			out, err := cmd.Output()
			if err != nil {
				t.Error(err, complaint.String())
			}
			mu.Lock()
			defer mu.Unlock()
			for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
				name, fingerprint, _ := strings.Cut(lines.Text(), " ")
				if other, taken := acknowledged[name]; taken {
					t.Errorf("%s was given to %s and to %s", name, other, fingerprint)
				}
				acknowledged[name] = fingerprint
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		s.index.forget()
		list, err := s.ListVersions(t.Context(), "shared")
		require.NoError(t, err)
		require.Empty(t, list.Problems)
	}
	require.Len(t, acknowledged, 51)
	list, err := opened(t, dir).ListVersions(t.Context(), "shared")
	require.NoError(t, err)
	live := map[int]bool{}
	for _, ref := range list.Keys {
		live[ref.Version] = true
		require.Equal(t, acknowledged[ref.JWKKID()], ref.Fingerprint)
		_, err := opened(t, dir).Signer(t.Context(), "shared", ref.Version)
		require.NoError(t, err, "its halves fit")
	}
	for n := 1; n <= 51; n++ {
		require.Contains(t, acknowledged, provider.JWKKID("shared", n))
		if !live[n] {
			require.ErrorIs(t, second(s.GetKey(t.Context(), "shared", n)), provider.ErrNotFound)
		}
	}
	require.True(t, live[51])
}

// Two opened stores on one directory, under a clock of their own.
func TestAnotherStoresWritesShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		writer, reader := opened(t, dir), opened(t, dir)
		require.NoError(t, second(writer.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
		_, err := reader.GetKey(t.Context(), "k", 0)
		require.NoError(t, err, "what is not known is looked for at once")
		signer, err := reader.Signer(t.Context(), "k", 1)
		require.NoError(t, err)
		set, err := reader.JWKS(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"k.1"}, jwkNames(set))

		require.NoError(t, second(writer.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{}})))
		require.NoError(t, second(reader.GetKey(t.Context(), "k", 2)), "so is a version")
		require.NoError(t, second(writer.DestroyKey(t.Context(), "k", 1)))
		require.NoError(t, second(writer.CreateKey(t.Context(), provider.KeySpec{KID: "new", Alg: provider.Ed25519})))
		time.Sleep(checkInterval)
		_, err = reader.GetKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrNotFound)
		_, err = signer.SignContext(t.Context(), []byte("m"), nil)
		require.ErrorIs(t, err, provider.ErrNotFound, "a signer ends with its version")
		set, err = reader.JWKS(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, []string{"k.2", "new.1"}, jwkNames(set))

		require.NoError(t, second(writer.DestroyKey(t.Context(), "k", provider.AllVersions)))
		time.Sleep(checkInterval)
		list, err := reader.ListKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"new.1"}, names(list.Keys))
		ref, err := reader.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
		require.NoError(t, err)
		require.Equal(t, 3, ref.Version)
	})
}

// A version is destroyed while its record is being read. What it had retired stays retired.
func TestADestroyWhileAReaderReads(t *testing.T) {
	dir := t.TempDir()
	writer := opened(t, dir)
	require.NoError(t, second(writer.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	require.NoError(t, second(writer.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{}})))
	var once sync.Once
	reader, err := open(t.Context(), Config{Dir: dir}, func(op fileops.Op) error {
		if op.Kind == fileops.OpRead && op.Name == "keys/k/2.json" {
			once.Do(func() {
				if _, err := writer.DestroyKey(t.Context(), "k", 2); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	}, quickly)
	require.NoError(t, err)
	defer reader.Close()
	list, err := reader.ListVersions(t.Context(), "k")
	require.NoError(t, err)
	require.Empty(t, list.Problems)
	require.Equal(t, []string{"k.1"}, names(list.Keys))
	require.Equal(t, provider.Retired, list.Keys[0].State)
}

func TestAWriterWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, other := opened(t, dir), opened(t, dir)
		require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
		held, release := make(chan struct{}), make(chan struct{})
		ended := make(chan error)
		go func() {
			ended <- other.alter(t.Context(), "k", func(*change) error {
				close(held)
				<-release
				return nil
			})
		}()
		<-held
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := s.RotateKey(ctx, "k", provider.Rotation{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, provider.ErrUnavailable, "the caller's own limit is no outage")
		require.NoError(t, second(s.GetKey(t.Context(), "k", 1)), "readers do not wait")
		close(release)
		require.NoError(t, <-ended)
		ref, err := s.RotateKey(t.Context(), "k", provider.Rotation{})
		require.NoError(t, err)
		require.Equal(t, 2, ref.Version)
	})
}

// A writer that died behind its tombstones left the records, and one that died earlier a temporary file.
func TestTheNextWriterTidiesUp(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	require.NoError(t, second(s.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})))
	require.NoError(t, second(s.RotateKey(t.Context(), "k", provider.Rotation{})))
	record := read(t, dir, "keys/k/1.json")
	require.NoError(t, second(s.DestroyKey(t.Context(), "k", 1)))
	left := []string{"keys/k/1.json", ".tmp-0011223344556677"}
	leave := func() {
		for _, name := range left {
			require.NoError(t, os.WriteFile(dir+"/"+name, []byte(record), 0o600))
		}
	}
	leave()
	require.ErrorIs(t, second(opened(t, dir).GetKey(t.Context(), "k", 1)), provider.ErrNotFound)
	for _, name := range left {
		require.NoFileExists(t, dir+"/"+name, "removed by Open")
	}
	leave()
	require.NoError(t, second(s.RotateKey(t.Context(), "k", provider.Rotation{})))
	require.NoFileExists(t, dir+"/keys/k/1.json", "removed by the next write to the key")
	_, err := os.Stat(dir + "/lock")
	require.False(t, errors.Is(err, fs.ErrNotExist))
}

func TestNoDescriptorIsLeftOpen(t *testing.T) {
	count := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("the system lists no open files: ", err)
		}
		return len(open)
	}
	h := newHostile(t)
	h.write(t, "")
	before := count()
	var f faulty
	f.errno = syscall.EIO
	s, err := open(t.Context(), Config{Dir: h.dir, Passphrase: passphrase("open sesame")}, f.hook, quickly)
	require.NoError(t, err)
	for n := range int64(40) {
		f.countdown.Store(n)
		_, _ = s.RotateKey(t.Context(), "good", provider.Rotation{})
		_, _ = s.GetKey(t.Context(), "victim", 2)
		_, _ = s.DestroyKey(t.Context(), "good", int(n)+1)
		_ = s.Health(t.Context())
	}
	require.NoError(t, s.Close())
	_, err = open(t.Context(), Config{Dir: h.dir, Passphrase: passphrase("shut sesame")}, nil, quickly)
	require.ErrorIs(t, err, provider.ErrAuth)
	require.LessOrEqual(t, count(), before)
}
