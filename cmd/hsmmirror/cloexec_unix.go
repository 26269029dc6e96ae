//go:build unix

package main

import (
	"os"
	"syscall"
)

// closeOnExec keeps what a module starts from inheriting f, which would hold the pipe open.
func closeOnExec(f *os.File) { syscall.CloseOnExec(int(f.Fd())) }
