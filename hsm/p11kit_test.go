//go:build cgo && unix

package hsm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// remote serves the shared token through p11-kit, as a network HSM is served: it can be killed and started again.
type remote struct {
	t      *testing.T
	socket string
	module string
	server *exec.Cmd
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	softhsmtest.Get(t)
	var found []string
	for _, pattern := range []string{"/usr/lib/*/pkcs11/p11-kit-client.so", "/usr/lib*/pkcs11/p11-kit-client.so"} {
		more, err := filepath.Glob(pattern)
		require.NoError(t, err)
		found = append(found, more...)
	}
	if _, err := exec.LookPath("p11-kit"); err != nil || len(found) == 0 {
		if os.Getenv(softhsmtest.RequireEnv) != "" {
			t.Fatal("p11-kit and its client module are not installed")
		}
		t.Skip("missing capability: p11-kit server and p11-kit-client.so")
	}
	r := &remote{t: t, socket: filepath.Join(t.TempDir(), "p11"), module: found[0]}
	t.Setenv("P11_KIT_SERVER_ADDRESS", "unix:path="+r.socket)
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *remote) start() {
	r.t.Helper()
	r.server = exec.Command("p11-kit", "server", "-f", "-n", r.socket, "--provider", softhsmtest.Get(r.t).Module, "pkcs11:token="+sharedToken)
	r.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(r.t, r.server.Start())
	require.Eventually(r.t, func() bool {
		_, err := os.Stat(r.socket)
		return err == nil
	}, time.Minute, 10*time.Millisecond)
}

// stop kills the server and, with its process group, what it has forked for each client.
func (r *remote) stop() {
	if r.server == nil {
		return
	}
	_ = unix.Kill(-r.server.Process.Pid, unix.SIGKILL)
	_ = r.server.Wait()
	_ = os.Remove(r.socket)
	r.server = nil
}

func TestATokenBehindP11Kit(t *testing.T) {
	ctx := context.Background()
	r := newRemote(t)
	cfg := configFor(t, sharedToken)
	cfg.Module = r.module
	token, err := Open(ctx, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, token.Close()) }()

	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.ECDSAP384SHA384, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256} {
		ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg, Bits: bitsFor(alg)})
		require.NoError(t, err, alg)
		requireGoodSignature(t, token, ref)
		_, err = token.DestroyKey(ctx, ref.KID, provider.AllVersions)
		require.NoError(t, err)
	}
	for _, alg := range []provider.KeyAlg{provider.RSAOAEPSHA256, provider.HMACSHA256} { // proved by a round trip
		_, err := token.CreateKey(ctx, provider.KeySpec{Alg: alg, Bits: bitsFor(alg)})
		require.NoError(t, err, alg)
	}
	requireMadeOrRefused(t, token, map[provider.KeyAlg]string{ // p11-kit 0.24 can't pass them on
		provider.Ed25519: "CKM_EDDSA", provider.AES256GCM: "CKM_AES_GCM", provider.X25519: "CKM_E",
	})
}

func TestTheServerOfATokenDiesAndComesBack(t *testing.T) {
	ctx := context.Background()
	r := newRemote(t)
	cfg := configFor(t, sharedToken)
	cfg.Module = r.module
	token, err := Open(ctx, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, token.Close()) }()
	ref, err := token.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	signer, err := token.Signer(ctx, ref.KID, 0)
	require.NoError(t, err)

	r.stop()
	_, err = signer.SignContext(ctx, make([]byte, 32), ref.Alg.SignerOpts())
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.Eventually(t, func() bool {
		_, err := token.GetKey(ctx, ref.KID, 0)
		return provider.IsOutage(err)
	}, recovery, time.Millisecond)

	r.start()
	require.Eventually(t, func() bool {
		_, err := signer.SignContext(ctx, make([]byte, 32), ref.Alg.SignerOpts())
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	requireGoodSignature(t, token, ref)
}

func bitsFor(alg provider.KeyAlg) int {
	if alg.KeyType() == "RSA" {
		return provider.MinRSABits
	}
	return 0
}

// requireGoodSignature checks a signature of the token under its public key.
func requireGoodSignature(t *testing.T, token *Token, ref provider.KeyRef) {
	t.Helper()
	message := []byte("message")
	signer, err := token.Signer(context.Background(), ref.KID, ref.Version)
	require.NoError(t, err)
	signature, err := signer.SignContext(context.Background(), ref.Alg.Digest(message), ref.Alg.SignerOpts())
	require.NoError(t, err)
	jwk, err := token.PublicJWK(context.Background(), ref.KID, ref.Version)
	require.NoError(t, err)
	require.NoError(t, jwk.Verify(message, signature))
}
