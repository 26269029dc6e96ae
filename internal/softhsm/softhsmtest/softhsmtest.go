// Package softhsmtest gives a test binary its own SoftHSM2.
package softhsmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
)

// RequireEnv names the environment variable that, if not empty, turns a missing SoftHSM2 from a skip into a failure.
const RequireEnv = "HSMMIRROR_REQUIRE_SOFTHSM2"

var (
	shared *softhsm.HSM
	absent error // why there is no HSM
)

// Main makes an HSM with the given tokens, points the process at it by SOFTHSM2_CONF, runs the tests, removes the HSM and
// returns the exit code. A TestMain is
//
//	func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m, "first", "second")) }
//
// The module sees new tokens at C_Initialize only, so the labels name all that any test needs. Where SoftHSM2 is not
// installed, or the binary was built without cgo and can't load it, the tests run all the same and [Get] skips.
func Main(m *testing.M, labels ...string) (code int) {
	hsm, err := start(labels)
	if errors.Is(err, softhsm.ErrMissing) && os.Getenv(RequireEnv) == "" || errors.Is(err, errNoCgo) {
		absent = err
		return m.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "softhsmtest:", err)
		return 1
	}
	shared = hsm
	defer func() {
		if err := hsm.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "softhsmtest:", err)
			code = 1
		}
	}()
	return m.Run()
}

// Get returns the HSM that [Main] made. It skips the test, and says why, if there is none.
func Get(t testing.TB) *softhsm.HSM {
	t.Helper()
	if absent != nil {
		t.Skip(absent)
	}
	if shared == nil {
		t.Fatal("softhsmtest.Main was not called by TestMain")
	}
	return shared
}

// Token returns the token with the given label, as Get does.
func Token(t testing.TB, label string) softhsm.Token {
	t.Helper()
	for _, token := range Get(t).Tokens {
		if token.Label == label {
			return token
		}
	}
	t.Fatalf("softhsmtest.Main was not asked for a token %q", label)
	return softhsm.Token{}
}

func start(labels []string) (*softhsm.HSM, error) {
	if !cgo {
		return nil, errNoCgo
	}
	hsm, err := softhsm.New(context.Background(), memory(), labels...)
	if err != nil {
		return nil, err
	}
	return hsm, os.Setenv(softhsm.ConfEnv, hsm.Conf)
}

var errNoCgo = errors.New("built without cgo: a PKCS#11 module can't be loaded")

// memory is a place for tokens in memory, where the system has one: SoftHSM2 syncs each object, and no test needs a disk for that. Empty
// where it has none.
func memory() string {
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}
