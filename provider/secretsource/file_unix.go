//go:build unix

package secretsource

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

func readFile(path string) ([]byte, error) {
	// Without O_NONBLOCK the opening of a FIFO waits for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened: a name may change its meaning
	if err != nil {
		return nil, err
	}
	if err := checkGuarded(path, info); err != nil {
		return nil, err
	}
	return readLimited(f)
}

// checkGuarded returns an error unless only the user of this process, and root, can get at the file.
func checkGuarded(path string, info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %04o): want 0600 or less", path, perm)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: want user %d or root", path, stat.Uid, os.Geteuid())
	}
	return nil
}

// readLimited reads r to its end, or to the first byte that is too many. It reads into one buffer, so that no copy is left
// behind where the buffer would have grown.
func readLimited(r io.Reader) ([]byte, error) {
	buf := make([]byte, maxRead)
	n, err := io.ReadFull(r, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return buf[:n], err
}
