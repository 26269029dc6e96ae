package fileops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

var (
	// ErrType means something else stands there than the regular file or the directory that is wanted: a symbolic link,
	// a FIFO, a device.
	ErrType = errors.New("wrong type of file")

	// ErrSize means the file is larger than allowed. Nothing of it was read.
	ErrSize = errors.New("file larger than allowed")
)

// Lstat describes name itself, not what a symbolic link points to.
func (d *Dir) Lstat(name string) (info fs.FileInfo, err error) {
	err = d.step(Op{Kind: OpStat, Name: name}, func() error {
		info, err = d.root.Lstat(name)
		return err
	})
	return info, err
}

// List returns the names in d in ascending order.
func (d *Dir) List() (names []string, err error) {
	err = d.step(Op{Kind: OpList, Name: "."}, func() error {
		f, err := d.root.Open(".")
		if err != nil {
			return err
		}
		defer f.Close()
		names, err = f.Readdirnames(-1)
		return err
	})
	slices.Sort(names)
	return names, err
}

// ReadFile returns the content of a regular file of at most limit bytes, and what describes the file. [ErrType] or
// [ErrSize] for another file. It opens nothing that it has not seen to be a regular file, and never waits for a writer.
func (d *Dir) ReadFile(name string, limit int64) (data []byte, info fs.FileInfo, err error) {
	info, err = d.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if err := acceptable(info, limit); err != nil {
		return nil, info, d.fail("read", name, err)
	}
	err = d.step(Op{Kind: OpRead, Name: name}, func() error {
		data, info, err = d.read(name, limit)
		return err
	})
	return data, info, err
}

func (d *Dir) read(name string, limit int64) ([]byte, fs.FileInfo, error) {
	// O_NONBLOCK for the case that a FIFO took the file's place since it was looked at.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := acceptable(info, limit); err != nil {
		return nil, info, err
	}
	var buf bytes.Buffer
	buf.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, info, err
	}
	if int64(buf.Len()) > limit {
		return nil, info, ErrSize
	}
	return buf.Bytes(), info, nil
}

func acceptable(info fs.FileInfo, limit int64) error {
	switch {
	case !info.Mode().IsRegular():
		return wrongType(0, info)
	case info.Size() > limit:
		return fmt.Errorf("%w: %d bytes, want at most %d", ErrSize, info.Size(), limit)
	}
	return nil
}

// wrongType returns the ErrType that says what was wanted and what info describes.
func wrongType(want fs.FileMode, info fs.FileInfo) error {
	return fmt.Errorf("%w: want a %s, found a %s", ErrType, typeName(want), typeName(info.Mode()))
}

func typeName(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "regular file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symbolic link"
	case fs.ModeNamedPipe:
		return "FIFO"
	case fs.ModeSocket:
		return "socket"
	}
	return "device"
}

// Tighten takes away what mode gives to group and others, if it gives them anything, and tells whether it did. info
// describes name.
func (d *Dir) Tighten(name string, info fs.FileInfo) (bool, error) {
	mode := info.Mode().Perm()
	if mode&0o077 == 0 {
		return false, nil
	}
	err := d.step(Op{Kind: OpChmod, Name: name}, func() error { return d.root.Chmod(name, mode&^0o077) })
	return err == nil, err
}
