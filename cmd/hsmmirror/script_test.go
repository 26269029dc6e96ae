//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == probeArg { // a probe of this program is this program
		os.Exit(realMain())
	}
	testscript.Main(m, map[string]func(){"hsmmirror": main})
}

// TestScripts runs the scripts in testdata/script, which say how the command behaves. Besides testscript's own commands they
// have
//
//	softhsm LABEL...     makes a throwaway SoftHSM2 with these tokens, and points the environment at the first: the
//	                     HSMMIRROR_ variables, $PINFILE, and $TOKENDIR, without which all tokens are gone
//	oldmirror DIR        makes a keystore with a mirror's manifest that has expired
//	p11object NAME...    stores objects that no tool makes, see rawObjects
//	p11serve             serves the tokens through p11-kit, and makes its client the module
//	fault KIND [CALL]    puts a module that fails on demand before the tokens', and makes it fail: crash or hang in a call,
//	                     fail CALL CODE, removed, flags SET, or well again; reached CALL waits until the call has begun
//	exits CODE COMMAND   runs a command that ends with this exit code
//	setenv NAME FILE     sets a variable to what a file, or stdout, says
//	interrupt TEXT       runs the demo and interrupts it when it prints the text
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("NSS", nssModule())
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command of a race build sleeps for a second at its end
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"softhsm":   makeTokens,
			"oldmirror": makeOldMirror,
			"p11object": storeRawObjects,
			"p11serve":  serveTokens,
			"fault":     injectFault,
			"exits":     exits,
			"interrupt": interrupt,
			"setenv":    setenv,
		},
	})
}

// nssModule returns the path of NSS's module; empty if it is not installed.
func nssModule() string {
	for _, pattern := range []string{"/usr/lib*/libsoftokn3.so", "/usr/lib*/*/libsoftokn3.so", "/usr/lib*/*/nss/libsoftokn3.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// condition knows [cgo], [nss]: NSS is there, [p11kit]: p11-kit's server and client are there, and [softhsm]: SoftHSM2 is there and this program can load it.
func condition(name string) (bool, error) {
	switch name {
	case "cgo":
		return cgo, nil
	case "p11kit":
		_, err := exec.LookPath("p11-kit")
		return err == nil && p11kitClient() != "", nil
	case "nss":
		return nssModule() != "", nil
	case "softhsm":
		_, err := softhsm.Find()
		if err != nil && os.Getenv(softhsmtest.RequireEnv) != "" {
			return false, err
		}
		return cgo && err == nil, nil
	}
	return false, errors.New("unknown condition " + name)
}

func makeTokens(ts *testscript.TestScript, neg bool, labels []string) {
	if neg || len(labels) == 0 {
		ts.Fatalf("usage: softhsm LABEL...")
	}
	h, err := softhsm.New(context.Background(), ts.MkAbs("."), labels...)
	ts.Check(err)
	ts.Defer(func() { ts.Check(h.Close()) })
	ts.Setenv(softhsm.ConfEnv, h.Conf)
	ts.Setenv("TOKENDIR", h.TokenDir())
	ts.Setenv("PINFILE", h.Tokens[0].PINFile)
	ts.Setenv("PIN", string(h.Tokens[0].PIN.Expose()))
	ts.Setenv("MODULE", h.Module)
	ts.Setenv("HSMMIRROR_MODULE", h.Module)
	ts.Setenv("HSMMIRROR_TOKEN", labels[0])
	ts.Setenv("HSMMIRROR_PIN_SOURCE", "file:"+h.Tokens[0].PINFile)
}

func setenv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND")
	}
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(ts.Exec(args[1], args[2:]...), &exit) {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d: want %d", got, want)
	}
}

// interrupt runs the demo, sends it SIGINT as soon as it has printed the text, and checks that it ends with exitRefused.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: interrupt TEXT")
	}
	path, err := exec.LookPath("hsmmirror")
	ts.Check(err)
	cmd := exec.Command(path, "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), args[0]) {
			ts.Check(cmd.Process.Signal(os.Interrupt))
		}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitRefused {
		ts.Fatalf("%v: want exit code %d\n%s", err, exitRefused, stderr.String())
	}
	if stderr.String() != "hsmmirror: error: interrupted\n" {
		ts.Fatalf("stderr: %s", stderr.String())
	}
}
