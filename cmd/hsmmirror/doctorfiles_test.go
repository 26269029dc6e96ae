//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who can replace a module runs as whoever loads it. (The directories above are the test's own, and /tmp, where others can't replace.)
func TestWhoElseCanReplaceAFile(t *testing.T) {
	mode := func(path string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, path), mode)) }
	}
	tests := []struct {
		name string
		edit func(t *testing.T, dir string)
		path string
		want string // of whom it tells, below the test's directory; empty: nobody
	}{
		{"nobody", func(*testing.T, string) {}, "lib/module.so", ""},
		{"who can write the file", mode("lib/module.so", 0o666), "lib/module.so", "lib/module.so (mode 0666)"},
		{"who can write its directory", mode("lib", 0o777), "lib/module.so", "lib (mode 0777)"},
		{"who can write the directory above", mode("", 0o777), "lib/module.so", "(mode 0777)"},
		{"who can add to its directory, and replace nothing", mode("lib", 0o777|fs.ModeSticky), "lib/module.so", ""},
		{"who can add to a keystore", mode("lib", 0o777|fs.ModeSticky), "lib", "lib (mode 0777)"},
		{"who can write what a link leads to", mode("lib/module.so", 0o606), "link/module.so", "lib/module.so (mode 0606)"},
		{"who can change the link to it", mode("link", 0o777), "link/module.so", "link (mode 0777)"},
		{"nobody, by a link", func(*testing.T, string) {}, "link/module.so", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			for _, d := range []string{"", "lib", "link"} {
				require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, "lib", "module.so"), nil, 0o644))
			require.NoError(t, os.Symlink("../lib/module.so", filepath.Join(dir, "link", "module.so")))
			test.edit(t, dir)

			path := filepath.Join(dir, test.path)
			d := &doctor{app: &app{options: options{output: outputJSON}}}
			d.moduleFile(path)
			if test.want == "" {
				require.Equal(t, []checkJSON{{"module", checkOK, path, ""}}, d.checks)
				return
			}
			require.Equal(t, []checkJSON{{
				"module", checkFailure, strings.ReplaceAll("others than its owner can write "+dir+"/"+test.want, "/(", " ("),
				"take the right away: who can replace the module gets the PIN",
			}}, d.checks)
		})
	}
	require.Contains(t, writers(filepath.Join(t.TempDir(), "absent")), "no such file")
	d := &doctor{app: &app{options: options{output: outputJSON}}}
	d.moduleFile("libmodule.so")
	require.Equal(t, []checkJSON{{"module", checkOK, "libmodule.so, found by the dynamic linker", ""}}, d.checks)
}
