package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/hsmmirror/hsmmirror/provider"
)

// maxInput is the most that is read of a file to sign or to verify: all of it stands in memory, because Ed25519 and JWS want
// the whole message.
const maxInput = 1 << 30

// readInput reads the file, or stdin if path is empty or "-". provider.ErrInvalid if there is no such file, or if it holds more
// than limit bytes.
func (a *app) readInput(ctx context.Context, path string, limit int64) ([]byte, error) {
	if path == "" || path == "-" {
		return readContext(ctx, a.in, limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, provider.Invalidf("input: %w", err)
	}
	defer f.Close()
	return readContext(ctx, f, limit)
}

// readContext reads r to its end or that of ctx. A read from a terminal or a pipe can't be interrupted: it is left to the end of
// the process.
func readContext(ctx context.Context, r io.Reader, limit int64) ([]byte, error) {
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(r, limit+1))
		done <- result{b, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.err != nil {
			return r.b, provider.Invalidf("input: %w", r.err)
		}
		if int64(len(r.b)) > limit {
			return r.b, provider.Invalidf("input: want at most %d bytes", limit)
		}
		return r.b, nil
	}
}

// writeOutput writes b to the file, or to stdout if path is empty or "-". A file that is there keeps its mode, and its content unless
// all of b could be written.
func (a *app) writeOutput(path string, b []byte, mode os.FileMode) error {
	if path == "" || path == "-" {
		_, err := a.out.Write(b)
		return err
	}
	switch info, err := os.Lstat(path); {
	case err == nil && !info.Mode().IsRegular():
		return os.WriteFile(path, b, mode) // a device, a pipe or a link, which stays what it is
	case err == nil:
		mode = info.Mode().Perm()
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".hsmmirror-*")
	if errors.Is(err, fs.ErrPermission) {
		return os.WriteFile(path, b, mode) // a file of ours in a directory of others
	}
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync() // or a crash may leave the name with nothing behind it
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

// checkBinary returns a usage error if bytes that are no text would go to a terminal.
func (a *app) checkBinary(path string) error {
	f, ok := a.out.(*os.File)
	if path == "" && ok && term.IsTerminal(int(f.Fd())) {
		return usagef("give --out FILE, or --out - if you mean it", "this output is no text for a terminal")
	}
	return nil
}
