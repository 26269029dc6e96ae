package modpath

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestModulesThatP11KitHasConfigured(t *testing.T) {
	base := fstest.MapFS{
		"usr/share/p11-kit/modules/card.module": file("# a comment: not a field\nmodule: card.so\npriority: 1\n"),
		"etc/pkcs11/modules/hsm.module":         file("module: /opt/hsm.so\n"),
		"usr/lib64/pkcs11/card.so":              file(""),
		"opt/hsm.so":                            file(""),
		"opt/mine.so":                           file(""),
	}
	card := Module{Path: "/usr/lib64/pkcs11/card.so", Source: "/usr/share/p11-kit/modules/card.module"}
	hsm := Module{Path: "/opt/hsm.so", Source: "/etc/pkcs11/modules/hsm.module"}
	mine := Module{Path: "/opt/mine.so", Source: "/home/me/.config/pkcs11/modules/mine.module"}

	tests := []struct {
		name  string
		files fstest.MapFS
		want  []Module
	}{
		{"the package's and the system's", nil, []Module{card, hsm}},
		{"the user's come on top", fstest.MapFS{"home/me/.config/pkcs11/modules/mine.module": file("module: /opt/mine.so")}, []Module{card, hsm, mine}},
		{"the user's file overrides the system's of the same name", fstest.MapFS{"home/me/.config/pkcs11/modules/hsm.module": file("module: /opt/mine.so")},
			[]Module{card, {Path: "/opt/mine.so", Source: "/home/me/.config/pkcs11/modules/hsm.module"}}},
		{"the user wants only theirs", fstest.MapFS{
			"home/me/.config/pkcs11/pkcs11.conf":         file("user-config: only"),
			"home/me/.config/pkcs11/modules/mine.module": file("module: /opt/mine.so"),
		}, []Module{mine}},
		{"the system wants none of the user's", fstest.MapFS{
			"etc/pkcs11/pkcs11.conf":                     file("user-config: none"),
			"home/me/.config/pkcs11/pkcs11.conf":         file("user-config: only"),
			"home/me/.config/pkcs11/modules/mine.module": file("module: /opt/mine.so"),
		}, []Module{card, hsm}},
		{"one that is not for us", fstest.MapFS{
			"etc/pkcs11/modules/hsm.module":         file("module: /opt/hsm.so\ndisable-in: ssh, hsmmirror"),
			"usr/share/p11-kit/modules/card.module": file("module: card.so\nenable-in: firefox"),
		}, nil},
		{"one that is gone is named with its problem", fstest.MapFS{"etc/pkcs11/modules/hsm.module": file("module: absent.so")},
			[]Module{card, {Path: "absent.so", Source: hsm.Source, Problem: "it is configured, and there is no such file"}}},
		{"a remote one is a command, and is not run", fstest.MapFS{"etc/pkcs11/modules/hsm.module": file("remote: |ssh hsm p11-kit remote")},
			[]Module{card, {Source: hsm.Source, Problem: "it is remote, behind a command, and commands are not run"}}},
		{"a file that names nothing", fstest.MapFS{"etc/pkcs11/modules/hsm.module": file("priority: 3")}, []Module{card}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for _, files := range []fstest.MapFS{base, test.files} {
				for name, f := range files {
					root[name] = f
				}
			}
			found := configured(root, func(name string) string { return map[string]string{"HOME": "/home/me"}[name] })
			require.Equal(t, test.want, found)
		})
	}
}

func TestAModuleIsFoundOnce(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	path, link := filepath.Join(dir, "module.so"), filepath.Join(dir, "link.so")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Symlink(path, link))
	require.Equal(t, []Module{{Path: path, Source: "configured"}}, unique([]Module{{Path: link, Source: "configured"}, {Path: path}}))
}
