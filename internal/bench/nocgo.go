//go:build !cgo || !unix

// Command bench needs cgo, and Unix.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: want a build with cgo, on Unix")
	os.Exit(1)
}
