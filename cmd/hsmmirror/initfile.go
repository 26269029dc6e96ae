package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

var configTemplate = template.Must(template.New("config").Funcs(template.FuncMap{"yaml": yamlScalar}).Parse(
	`# The configuration of hsmmirror; see hsmmirror help config. Flags and environment variables come before it.

# The PKCS#11 library of the token.
module: {{yaml .Module}}

# The token, by its label and serial number. Slot numbers move.
token: {{yaml .Token}}
{{if .Serial}}serial: {{yaml .Serial}}
{{end}}
# Where the PIN comes from: file:PATH, env:NAME, fd:N, prompt or pinpad. Never the PIN itself.
pin_source: {{yaml .PINSource}}

# The directory of the software keystore, which answers while the token is away.
store: {{yaml .Store}}

# What is mirrored: public_only, full or none.
mode: public_only

# A directory of this host's own, out of reach of who can write the keystore's files. Without it an older copy of the mirror that is
# put back is carried on, with keys that were destroyed since. A reader has one of its own too.
{{if .StateDir}}state_dir: {{yaml .StateDir}}
{{else}}# state_dir: /var/lib/hsmmirror-own
{{end}}
# The thumbprint of the key that signs the mirror's manifest belongs in the configuration of readers:
# manifest_pin: what hsmmirror mirror pin prints
`))

// config returns the text of the configuration file.
func (s setup) config() ([]byte, error) {
	var b bytes.Buffer
	err := configTemplate.Execute(&b, s)
	return b.Bytes(), err
}

// yamlScalar writes a string as a YAML scalar.
func yamlScalar(s string) (string, error) {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	plain(n)
	text, err := yaml.Marshal(n)
	return strings.TrimSuffix(string(escape(text, yamlEscape)), "\n"), err
}

// draftSuffix follows the name of the configuration file until everything else is done.
const draftSuffix = ".new"

// draft writes the file under another name, so that a place that can't be written to shows before anything is made on the token.
func (f *initFlags) draft(text []byte, made *leftovers) error {
	made.expect(f.out + draftSuffix)
	if err := os.MkdirAll(filepath.Dir(f.out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(f.out+draftSuffix, text, 0o600)
}
