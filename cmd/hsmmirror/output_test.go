package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// full is where nothing can be written to.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

// A program that reads results must not take none for an empty one.
func TestResultsThatCantBeWrittenAreAnError(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("PASSPHRASE", "correct-horse")
	t.Setenv("HSMMIRROR_STORE", filepath.Join(dir, "store"))
	file := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(file("in"), []byte(`{"sub":"alice"}`), 0o600))
	const open = " --passphrase-source env:PASSPHRASE" // where it is needed: each costs the work that guessing would
	do(t, nil, strings.Fields("key create --kid k --alg ED25519"+open)...)
	do(t, nil, strings.Fields("sign k --in "+file("in")+" --out "+file("sig")+open)...)
	do(t, nil, "store", "export", "--out", file("set"))
	mirrored := " --uri softfile:" + file("store") + "?passphrase-source=env:PASSPHRASE --store " + file("mirror")
	do(t, nil, strings.Fields("mirror reconcile"+mirrored)...)

	for _, command := range []string{
		"key list", "key list -o json", "key list -o yaml", "key show k", "key show k -o json", "key show k --format pem", "jwk k", "jwks",
		"verify k --in " + file("in") + " --sig " + file("sig"), "verify k -o json --in " + file("in") + " --sig " + file("sig"),
		"random 8", "version", "version -o json", "config show", "config show -o json",
		"store export", "store import --in " + file("set") + " --store " + file("other"),
		"mirror pin" + mirrored, "mirror diff" + mirrored, "mirror diff --exit-code" + mirrored,
		"mirror status" + mirrored, "mirror reconcile" + mirrored,
		"mirror verify --store " + file("mirror"), "mirror verify -o json --store " + file("mirror"), "mirror export --store " + file("mirror"),
		"sign k --in " + file("in") + open,
		"key create --kid m --alg ED25519" + open, "key rotate m -o json" + open, "key revoke m.2 --yes", "key revoke m --yes -o json" + open,
		"key destroy m.3 --yes --force", "key destroy k --all-versions --yes -o json",
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(command), streams{nil, full{}, &stderr})
		require.Equal(t, exitRefused, code, "%s: %s", command, stderr.String())
		require.Contains(t, stderr.String(), "hsmmirror: error: "+errFull.Error()+"\n", command)
	}
}
