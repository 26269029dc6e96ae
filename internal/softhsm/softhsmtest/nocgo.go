//go:build !cgo

package softhsmtest

const cgo = false
