//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// writersOf is writers for path alone. A group of the owner's number is taken for the owner's own, as many systems make one for each
// user.
func writersOf(path string, info fs.FileInfo) string {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	shared := info.Mode().Perm()&0o002 != 0 || info.Mode().Perm()&0o020 != 0 && owner.Gid != owner.Uid
	switch {
	case shared:
		return fmt.Sprintf("others than its owner can write %s (mode %#o)", path, info.Mode().Perm())
	case owner.Uid != 0 && int(owner.Uid) != os.Getuid():
		return fmt.Sprintf("another user (uid %d) owns %s", owner.Uid, path)
	}
	return ""
}
