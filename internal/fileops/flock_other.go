//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package fileops

import (
	"errors"
	"os"
)

// tryFlock has no lock here that ends with its process, so that there are no writers.
func tryFlock(*os.File) (bool, error) { return false, errors.ErrUnsupported }
