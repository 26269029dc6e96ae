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

func TestWhatAConfigurationFileMayBe(t *testing.T) {
	tests := []struct {
		name, text string
		mode       fs.FileMode
		want       map[string]string
		err        string // in place of want
	}{
		{"names and values", "token: demo\nfail_open_reads: false\ntimeout: 3s\n", 0o600, map[string]string{"token": "demo", "fail-open-reads": "false", "timeout": "3s"}, ""},
		{"one that others can read", "token: demo\n", 0o644, map[string]string{"token": "demo"}, ""},
		{"nothing", "", 0o600, map[string]string{}, ""},
		{"comments alone", "# token: demo\n", 0o600, map[string]string{}, ""},
		{"a name without a value", "token:\nstore: s\n", 0o600, map[string]string{"store": "s"}, ""},
		{"as much as may be", "token: demo\n#" + strings.Repeat("x", maxConfig-14) + "\n", 0o600, map[string]string{"token": "demo"}, ""},
		{"more than may be", "token: demo\n#" + strings.Repeat("x", maxConfig-13) + "\n", 0o600, nil, "want a file of at most 65536 bytes"},
		{"one that its group can write", "token: demo\n", 0o620, nil, "others than its owner can write it"},
		{"one that everybody can write", "token: demo\n", 0o602, nil, "others than its owner can write it"},
		{"no YAML", "token: [\n", 0o600, nil, "want YAML"},
		{"a list", "- token\n", 0o600, nil, "want name: value lines"},
		{"a list of values", "token: [a, b]\n", 0o600, nil, "line 1: want one value"},
		{"a name twice, once without a value", "token:\ntoken: a\n", 0o600, nil, "line 2: token is there twice"},
		{"a PIN", "token: demo\npin: 4711\n", 0o600, nil, "line 2: no PIN and no passphrase stands in a configuration file"},
		{"a passphrase", "passphrase: 4711\n", 0o600, nil, "line 1: no PIN and no passphrase stands in a configuration file"},
		{"a password", "password: 4711\n", 0o600, nil, "line 1: no PIN and no passphrase stands in a configuration file"},
		{"a flag that is of no configuration", "config: 4711\n", 0o600, nil, "line 1: unknown name config"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
			require.NoError(t, os.Chmod(path, test.mode))
			c, err := readConfig(path)
			if test.err != "" {
				require.ErrorAs(t, err, new(*usageError))
				require.ErrorContains(t, err, test.err)
				require.NotContains(t, err.Error(), "4711")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, c.values)
		})
	}
	_, err := readConfig(t.TempDir())
	require.ErrorContains(t, err, "want a file")
}
