//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package fileops

import (
	"errors"
	"os"
	"syscall"
)

// tryFlock takes the lock of flock(2), which belongs to the open file and ends with it.
func tryFlock(f *os.File) (held bool, err error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, syscall.EINTR):
			continue
		}
		return false, os.NewSyscallError("flock", err)
	}
}
