package softhsm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// ErrMissing means that SoftHSM2 is not installed, or not where it is looked for.
var ErrMissing = errors.New("SoftHSM2 not found")

// ModuleEnv names the environment variable that overrides the search for the module.
const ModuleEnv = "SOFTHSM2_MODULE"

// modules are the places where distributions put the module; the architecture's folder is a pattern.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",             // Debian, Ubuntu, Arch, Alpine
	"/usr/lib/*-linux-gnu/softhsm/libsofthsm2.so", // Debian and Ubuntu with the compatibility link removed
	"/usr/lib64/pkcs11/libsofthsm2.so",            // Fedora, RHEL
	"/usr/lib64/softhsm/libsofthsm2.so",           // openSUSE
	"/usr/lib64/libsofthsm2.so",
	"/usr/lib/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",              // Homebrew on Apple silicon
	"/usr/local/lib/softhsm/libsofthsm2.so",                 // Homebrew on Intel, FreeBSD, built from source
	"/home/linuxbrew/.linuxbrew/lib/softhsm/libsofthsm2.so", // Homebrew on Linux
}

// Find returns the path of the SoftHSM2 module: the one that SOFTHSM2_MODULE names, or the first of the places where
// distributions install it. [ErrMissing] if there is none.
func Find() (string, error) {
	if path := os.Getenv(ModuleEnv); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("%w: %s names %s, which is no file", ErrMissing, ModuleEnv, path)
		}
		return path, nil
	}
	for _, pattern := range modules {
		found, _ := filepath.Glob(pattern) // fails for a malformed pattern only
		if i := slices.IndexFunc(found, isFile); i >= 0 {
			return found[i], nil
		}
	}
	return "", fmt.Errorf("%w: no libsofthsm2.so in the usual places; install the package softhsm2 (softhsm on some systems), or name the module in %s", ErrMissing, ModuleEnv)
}

// findUtil returns the path of softhsm2-util.
func findUtil() (string, error) {
	for _, name := range []string{"softhsm2-util", "/usr/sbin/softhsm2-util", "/opt/homebrew/bin/softhsm2-util"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: no softhsm2-util in PATH", ErrMissing)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
