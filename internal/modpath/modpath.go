// Package modpath finds the PKCS#11 modules of this machine: those that p11-kit has configured, and those that stand where vendors
// and distributions put them. It loads none.
package modpath

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Module is a module that may be loaded.
type Module struct {
	Path string // of the library, links resolved
	// Source says how it was found: the path of a p11-kit configuration file, or empty for a well-known place.
	Source string
	// Problem is why it can't be loaded, such as a configured module that is not there; empty if it can.
	Problem string
}

// Find returns the modules, each once, in order of path. What is configured and not usable is among them, with its Problem. Of one
// that is both configured and in a well-known place the configuration is named.
func Find() []Module {
	found := configured(os.DirFS("/"), os.Getenv)
	for _, pattern := range wellKnown {
		paths, _ := filepath.Glob(pattern) // fails for a malformed pattern only
		for _, path := range paths {
			found = append(found, Module{Path: path})
		}
	}
	if os.Getenv("P11_KIT_SERVER_ADDRESS") != "" { // without it p11-kit's client has nowhere to go
		found = append(found, clients()...)
	}
	return unique(found)
}

// wellKnown are the places of modules; * stands for an architecture or a version.
var wellKnown = []string{
	// SoftHSM2
	"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	// OpenSC: smart cards
	"/usr/lib/*-linux-gnu/opensc-pkcs11.so", "/usr/lib64/opensc-pkcs11.so", "/usr/lib/opensc-pkcs11.so",
	"/Library/OpenSC/lib/opensc-pkcs11.so", "/opt/homebrew/lib/opensc-pkcs11.so",
	// Yubico: YubiHSM 2 and YubiKey
	"/usr/lib/*-linux-gnu/pkcs11/yubihsm_pkcs11.so", "/usr/lib64/pkcs11/yubihsm_pkcs11.so", "/usr/local/lib/pkcs11/yubihsm_pkcs11.dylib",
	"/usr/lib/*-linux-gnu/libykcs11.so", "/usr/lib64/libykcs11.so", "/usr/local/lib/libykcs11.dylib", "/opt/homebrew/lib/libykcs11.dylib",
	// TPM 2.0
	"/usr/lib/*-linux-gnu/libtpm2_pkcs11.so.1", "/usr/lib/*-linux-gnu/pkcs11/libtpm2_pkcs11.so", "/usr/lib64/pkcs11/libtpm2_pkcs11.so",
	// openCryptoki, Kryoptic
	"/usr/lib/*-linux-gnu/opencryptoki/libopencryptoki.so", "/usr/lib64/opencryptoki/libopencryptoki.so",
	"/usr/lib/*-linux-gnu/pkcs11/libkryoptic_pkcs11.so", "/usr/lib64/pkcs11/libkryoptic_pkcs11.so",
	// Network HSMs and clouds
	"/opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
	"/opt/nfast/toolkits/pkcs11/libcknfast.so",
	"/usr/safenet/lunaclient/lib/libCryptoki2_64.so", "/usr/lunasa/lib/libCryptoki2_64.so",
	"/opt/utimaco/lib/libcs_pkcs11_R3.so", "/usr/lib/libcs_pkcs11_R3.so",
	"/opt/securosys/libprimusP11.so", "/usr/local/primus/lib/libprimusP11.so",
	"/usr/lib/*-linux-gnu/pkcs11/libkmsp11.so", "/usr/local/lib/libkmsp11.so",
}

func clients() []Module {
	var found []Module
	for _, pattern := range []string{"/usr/lib/*/pkcs11/p11-kit-client.so", "/usr/lib*/pkcs11/p11-kit-client.so"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			found = append(found, Module{Path: path})
		}
	}
	return found
}

// unique resolves links, and keeps the first of each path.
func unique(found []Module) []Module {
	seen := map[string]bool{}
	var modules []Module
	for _, m := range found {
		if path, err := filepath.EvalSymlinks(m.Path); err == nil && m.Path != "" {
			m.Path = path
		}
		if key := cmp.Or(m.Path, m.Source); !seen[key] {
			seen[key] = true
			modules = append(modules, m)
		}
	}
	slices.SortStableFunc(modules, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return modules
}
