//go:build unix

package faultmodule

import (
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	functionCount = 68
	faultCount    = 64 // one bit each in the mask of a function
)

// control is what a module and its controller have mapped: struct control in shim/shim.h, which says what the members mean.
type control struct {
	size uint64
	real [1024]byte
	pin  [256]byte

	pinLen             atomic.Uint64
	acts               atomic.Uint64
	away               atomic.Uint64
	sticky             atomic.Uint64
	losses             atomic.Uint64
	setFlags           atomic.Uint64
	clearFlags         atomic.Uint64
	sessionLimit       atomic.Uint64
	alwaysAuthenticate atomic.Uint64
	labelLimit         atomic.Uint64
	shyLogin           atomic.Uint64

	_               [8]uint64
	inside          atomic.Uint64
	mostInside      atomic.Uint64
	sessions        atomic.Uint64
	mostSessions    atomic.Uint64
	finalizedInside atomic.Uint64

	functions [functionCount]struct {
		calls  atomic.Uint64
		faults atomic.Uint64
	}
	faults [faultCount]faultControl
}

// faultControl is struct fault.
type faultControl struct {
	kind, skip, times, rv, delay, released, seen, hits, waiting, users atomic.Uint64
}

// The kinds of faults.
const (
	kindFail = iota + 1
	kindLose
	kindDelay
	kindHang
	kindCrash
)

// The acts.
const (
	dropSessions = 1 << iota
	dropLogin
	finalize
)

// newControl makes the control file of a module and maps it. Its owner calls unmap.
func newControl(path, real string) (_ *control, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping stays
	const size = int(unsafe.Sizeof(control{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	c := (*control)(unsafe.Pointer(unsafe.SliceData(memory)))
	c.size = uint64(size)
	copy(c.real[:len(c.real)-1], real)
	return c, nil
}

func (c *control) unmap() error {
	memory := unsafe.Slice((*byte)(unsafe.Pointer(c)), int(unsafe.Sizeof(control{})))
	return os.NewSyscallError("munmap", syscall.Munmap(memory))
}
