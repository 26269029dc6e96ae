//go:build unix

package faultmodule

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// ErrNoCompiler means that there is no C compiler: the environment variable CC names none, and there is no cc in PATH.
var ErrNoCompiler = errors.New("no C compiler found")

//go:embed shim
var sources embed.FS

// library is the compiled shim. A process compiles it once, and each module is a copy: the dynamic linker takes two paths of one
// file for the same library.
var library = sync.OnceValues(func() ([]byte, error) { return compile() })

// compile returns the shim as a shared library. extra are options of the compiler.
func compile(extra ...string) (_ []byte, err error) {
	cc, err := exec.LookPath(cmp.Or(os.Getenv("CC"), "cc"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCompiler, err)
	}
	dir, err := os.MkdirTemp("", "hsmmirror-faultmodule-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, sources); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "shim", "*.c"))
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "shim.so")
	args := append([]string{"-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-o", out}, extra...)
	if text, err := exec.Command(cc, append(append(args, files...), "-ldl")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cc, err, strings.TrimSpace(string(text)))
	}
	return os.ReadFile(out)
}

// Functions returns the names of all functions of PKCS#11 v2.40, in the order of its CK_FUNCTION_LIST.
func Functions() []string {
	text, err := sources.ReadFile(path.Join("shim", "functions.h"))
	if err != nil {
		panic(err) // it is embedded
	}
	var names []string
	for _, line := range regexp.MustCompile(`(?m)^FUNCTION\((C_\w+),`).FindAllSubmatch(text, -1) {
		names = append(names, string(line[1]))
	}
	return names
}
