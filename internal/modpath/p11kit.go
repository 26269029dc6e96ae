package modpath

import (
	"bufio"
	"bytes"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Where p11-kit keeps its configuration, and modules that it names without a directory (pkcs11.conf(5)).
var (
	systemFile   = "/etc/pkcs11/pkcs11.conf"
	packageDirs  = []string{"/usr/share/p11-kit/modules", "/usr/local/share/p11-kit/modules", "/opt/homebrew/share/p11-kit/modules"}
	systemDirs   = []string{"/etc/pkcs11/modules", "/usr/local/etc/pkcs11/modules"}
	moduleLookup = []string{"/usr/lib/*-linux-gnu/pkcs11", "/usr/lib64/pkcs11", "/usr/lib/pkcs11", "/usr/local/lib/pkcs11", "/opt/homebrew/lib/pkcs11"}
)

// program is the name by which enable-in and disable-in name us.
const program = "hsmmirror"

// configured returns the modules that p11-kit has configured for this user. A file of the user's overrides one of the system's of the
// same name, which overrides a package's. Remote modules are commands; they are not run.
func configured(root fs.FS, getenv func(string) string) []Module {
	user := userDir(getenv)
	files := map[string]string{} // base name → path
	if systemConfigured(root, user) {
		collect(root, files, packageDirs...)
		collect(root, files, systemDirs...)
	}
	if userConfigured(root) && user != "" {
		collect(root, files, user+"/modules")
	}
	var found []Module
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if m, ok := read(root, files[name]); ok {
			found = append(found, m)
		}
	}
	return found
}

func userDir(getenv func(string) string) string {
	if dir := getenv("XDG_CONFIG_HOME"); path.IsAbs(dir) {
		return dir + "/pkcs11"
	}
	if home := getenv("HOME"); path.IsAbs(home) {
		return home + "/.config/pkcs11"
	}
	return ""
}

// userConfigured tells whether the system lets a user add modules.
func userConfigured(root fs.FS) bool {
	return parse(root, systemFile)["user-config"] != "none"
}

// systemConfigured tells whether the user lets the system's modules stand.
func systemConfigured(root fs.FS, user string) bool {
	mode := parse(root, systemFile)["user-config"]
	if user != "" && mode != "none" {
		if m := parse(root, user+"/pkcs11.conf")["user-config"]; m != "" {
			mode = m
		}
	}
	return mode != "only"
}

func collect(root fs.FS, files map[string]string, dirs ...string) {
	for _, dir := range dirs {
		entries, _ := fs.ReadDir(root, rel(dir)) // a directory that is not there has no modules
		for _, e := range entries {
			if name := e.Name(); strings.HasSuffix(name, ".module") {
				files[name] = dir + "/" + name
			}
		}
	}
}

// read returns the module that a configuration file names; false if it is not for us.
func read(root fs.FS, file string) (Module, bool) {
	fields := parse(root, file)
	m := Module{Source: file}
	if in := fields["enable-in"]; in != "" && !names(in) {
		return m, false
	}
	if names(fields["disable-in"]) {
		return m, false
	}
	lib := fields["module"]
	switch {
	case lib == "" && fields["remote"] != "":
		m.Problem = "it is remote, behind a command, and commands are not run"
	case lib == "":
		return m, false
	case path.IsAbs(lib):
		m.Path = lib
	default:
		m.Path = lookup(root, lib)
	}
	if _, err := fs.Stat(root, rel(m.Path)); m.Problem == "" && err != nil {
		m.Problem = "it is configured, and there is no such file"
	}
	return m, true
}

// lookup finds a module that is named without a directory; the name alone if it is nowhere.
func lookup(root fs.FS, name string) string {
	for _, dir := range moduleLookup {
		found, _ := fs.Glob(root, rel(dir)+"/"+name)
		if len(found) > 0 {
			return "/" + found[0]
		}
	}
	return name
}

func names(list string) bool {
	return slices.Contains(strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }), program)
}

// parse reads the "name: value" lines of a file; none if there is no such file.
func parse(root fs.FS, file string) map[string]string {
	fields := map[string]string{}
	text, _ := fs.ReadFile(root, rel(file))
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok && !strings.HasPrefix(strings.TrimSpace(name), "#") {
			fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return fields
}

// rel is an absolute path as io/fs wants it.
func rel(p string) string { return strings.TrimPrefix(path.Clean(p), "/") }
