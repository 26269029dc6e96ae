package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// p11kitClient returns the path of p11-kit's client module; empty if it is not installed.
func p11kitClient() string {
	for _, pattern := range []string{"/usr/lib/*/pkcs11/p11-kit-client.so", "/usr/lib*/pkcs11/p11-kit-client.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// serveTokens serves the script's tokens through p11-kit, as a network HSM is served, until the script ends.
func serveTokens(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: p11serve")
	}
	dir, err := os.MkdirTemp("", "p11-") // the path of a socket has to be short
	ts.Check(err)
	socket := filepath.Join(dir, "s")
	server := exec.Command("p11-kit", "server", "-f", "-n", socket, "--provider", ts.Getenv("MODULE"), "pkcs11:")
	server.Env = append(os.Environ(), "SOFTHSM2_CONF="+ts.Getenv("SOFTHSM2_CONF"))
	ts.Check(server.Start())
	ts.Defer(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		ts.Check(os.RemoveAll(dir))
	})
	for range 1000 {
		if _, err := os.Stat(socket); err == nil {
			ts.Setenv("P11_KIT_SERVER_ADDRESS", "unix:path="+socket)
			ts.Setenv("HSMMIRROR_MODULE", p11kitClient())
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("p11-kit server did not start")
}
