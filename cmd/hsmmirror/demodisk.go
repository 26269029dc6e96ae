package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// lookAtDisk lists the files of the mirror and searches them for what must not be there.
func (d *demo) lookAtDisk(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	files, err := readTree(os.DirFS(d.store()))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("there is nothing")
	}
	for _, f := range files {
		d.line("%6d bytes  %s", len(f.content), f.path)
	}
	for _, f := range files {
		for _, form := range formsOf(d.secret) {
			if bytes.Contains(f.content, form) {
				return fmt.Errorf("%s holds the private half of partner", f.path)
			}
		}
		if name := privateMember(f.content); name != "" {
			return fmt.Errorf("%s holds a private JWK member %q", f.path, name)
		}
		if bytes.Contains(f.content, []byte("PRIVATE KEY")) {
			return fmt.Errorf("%s holds a private key in PEM", f.path)
		}
	}
	d.held("no file holds a private JWK member or a private key in PEM")
	d.held("none holds the private half of partner, raw, in hex or in base64")
	return nil
}

type treeFile struct {
	path    string
	content []byte
}

// readTree reads every file below a directory, in the order of their paths.
func readTree(root fs.FS) ([]treeFile, error) {
	var files []treeFile
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		files = append(files, treeFile{path, content})
		return err
	})
	return files, err
}

// formsOf returns the ways in which bytes may stand in a file. Of base64 it takes a part that does not depend on how the text
// before it was cut into groups of three bytes.
func formsOf(secret []byte) [][]byte {
	forms := [][]byte{secret, hex.AppendEncode(nil, secret), fmt.Appendf(nil, "%X", secret)}
	for skip := range 3 {
		whole := secret[skip : skip+(len(secret)-skip)/3*3]
		forms = append(forms, []byte(base64.RawURLEncoding.EncodeToString(whole)), []byte(base64.RawStdEncoding.EncodeToString(whole)))
	}
	return forms
}

// privateMembers are the JWK members that only private and symmetric keys have (RFC 7518 sections 6.2.2, 6.3.2 and 6.4).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// privateMember returns the name of the first private member, at any depth, if content is JSON that has one.
func privateMember(content []byte) string {
	var v any
	if json.Unmarshal(content, &v) != nil {
		return ""
	}
	return findMember(v)
}

func findMember(v any) string {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if slices.Contains(privateMembers, name) {
				return name
			}
			if found := findMember(member); found != "" {
				return found
			}
		}
	case []any:
		for _, member := range v {
			if found := findMember(member); found != "" {
				return found
			}
		}
	}
	return ""
}
