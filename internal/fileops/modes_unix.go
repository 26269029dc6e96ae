//go:build unix

package fileops

// ModesTell tells whether the mode of a file says who can read and write it.
const ModesTell = true
