//go:build !unix

package secretsource

import "fmt"

// readFile refuses every file: its mode does not say who can read it.
func readFile(path string) ([]byte, error) {
	return nil, fmt.Errorf("%s: this system does not tell by a file's mode who else can read it: want env:NAME", path)
}
