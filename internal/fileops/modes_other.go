//go:build !unix

package fileops

// ModesTell tells whether the mode of a file says who can read and write it. Here it does not: what rests on it is refused.
const ModesTell = false
