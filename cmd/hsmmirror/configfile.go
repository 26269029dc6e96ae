package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
)

// configKeys are what a configuration file may set: the flags of every command, by their names with _ for -.
var configKeys = []string{
	"uri", "module", "token", "serial", "slot", "pin_source", "store", "passphrase_source", "mode", "fail_open_reads", "fail_over_signing",
	"manifest_pin", "state_dir", "timeout", "output",
}

// configFile is a configuration file as it was read.
type configFile struct {
	path   string            // empty: there is none
	values map[string]string // by the flag's name
	lines  map[string]int
}

func (c configFile) origin(name string) string {
	return fmt.Sprintf("%s, line %d", c.path, c.lines[name])
}

// maxConfig is the most that a configuration file may have.
const maxConfig = 64 << 10

// readConfig reads the file at path, which the options named, or else the user's, or else the system's. None of the two has to be
// there. A file that others can write is refused: it says which module is loaded. No error repeats a value.
func readConfig(path string) (configFile, error) {
	if path != "" {
		c, err := parseConfig(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = usagef("to have one written, leave out --config and HSMMIRROR_CONFIG: hsmmirror init --out FILE", "configuration %s: there is no such file", printable(path))
		}
		return c, err
	}
	for _, path := range configPaths() {
		c, err := parseConfig(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return configFile{}, nil
}

// configPaths are the places of configuration files: the user's, then the system's.
func configPaths() []string {
	var paths []string
	if dir, err := os.UserConfigDir(); err == nil {
		paths = append(paths, filepath.Join(dir, "hsmmirror", "config.yaml"))
	}
	return append(paths, "/etc/hsmmirror/config.yaml")
}

func parseConfig(path string) (configFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return configFile{}, usageErrorf(err, "configuration: %v", err)
	}
	switch shared := info.Mode().Perm()&0o022 != 0; {
	case !fileops.ModesTell:
		return configFile{}, usagef("use flags and environment variables", "configuration %s: this system does not tell by its mode who can write it", printable(path))
	case shared:
		return configFile{}, usagef("chmod go-w "+printable(path), "configuration %s: others than its owner can write it", printable(path))
	}
	if info.Size() > maxConfig || !info.Mode().IsRegular() {
		return configFile{}, usagef("", "configuration %s: want a file of at most %d bytes", printable(path), maxConfig)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return configFile{}, usageErrorf(err, "configuration: %v", err)
	}
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil {
		return configFile{}, usagef("", "configuration %s: want YAML", printable(path))
	}
	c := configFile{path: path, values: map[string]string{}, lines: map[string]int{}}
	if len(doc.Content) == 0 { // empty, or comments alone
		return c, nil
	}
	return c, c.read(doc.Content[0])
}

// read takes the values of a mapping of names to scalars.
func (c configFile) read(root *yaml.Node) error {
	if root.Kind != yaml.MappingNode {
		return usagef("", "configuration %s: want name: value lines", printable(c.path))
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name := strings.ReplaceAll(key.Value, "_", "-")
		switch {
		case slices.Contains([]string{"pin", "passphrase", "password"}, key.Value):
			return usagef("name where it comes from with pin_source or passphrase_source", "configuration %s, line %d: no PIN and no passphrase stands in a configuration file", printable(c.path), key.Line)
		case !slices.Contains(configKeys, key.Value):
			return usagef("want one of "+strings.Join(configKeys, " "), "configuration %s, line %d: unknown name %s", printable(c.path), key.Line, printable(key.Value))
		case value.Kind != yaml.ScalarNode:
			return usagef("", "configuration %s, line %d: want one value", printable(c.path), value.Line)
		case c.lines[name] != 0:
			return usagef("", "configuration %s, line %d: %s is there twice", printable(c.path), key.Line, key.Value)
		}
		c.lines[name] = key.Line
		if value.Tag != "!!null" {
			c.values[name] = value.Value
		}
	}
	return nil
}
