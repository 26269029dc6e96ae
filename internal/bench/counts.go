//go:build cgo && unix

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
)

// counted are the operations whose calls into the module are counted, with what they are called in the table.
var counted = []struct {
	title string
	op    operation
}{
	{"P-256 signature with a key at hand", signing(algs[0])},
	{"look-up by name and P-256 signature", signByKID},
	{"public key by name", publicKey},
	{"public keys of all", publicAll},
}

// warmUp is long enough for crypto11 to have opened the 1,024 sessions of its pool, each of which it uses before it uses one again.
const warmUp = time.Second

// counts counts the calls of each contender, for each operation.
func (s *stage) counts(ctx context.Context, names ...string) (err error) {
	dir, err := os.MkdirTemp("", "hsmmirror-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m, err := faultmodule.New(dir, s.hsm.Module)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	cells := make([][]string, len(counted))
	for _, name := range names {
		p, err := s.start(ctx, name, m.Path)
		if err != nil {
			return err
		}
		if _, err := p.run(signing(algs[0]), 1, warmUp); err != nil {
			return errors.Join(err, p.stop())
		}
		for i, c := range counted {
			cell, err := count(p, m, c.op)
			if err != nil {
				return errors.Join(err, p.stop())
			}
			cells[i] = append(cells[i], cell)
		}
		if err := p.stop(); err != nil {
			return err
		}
	}
	printCounts(names, cells)
	return nil
}

// count has a contender do an operation in one goroutine, and returns the calls for one operation in words. The first time, which
// prepares, is not counted.
func count(p *process, m *faultmodule.Module, op operation) (string, error) {
	if _, err := p.run(op, 1, 0); errors.Is(err, errNotOffered) {
		return "-", nil
	} else if err != nil {
		return "", err
	}
	var f figures
	var err error
	calls := m.During(func() { f, err = p.run(op, 1, 0) })
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		parts = append(parts, fmt.Sprintf("%.4g %s", float64(calls[name])/f.operations, name))
	}
	if len(parts) == 0 {
		parts = []string{"none"}
	}
	return strings.Join(parts, ", "), err
}
