//go:build !cgo

package main

const cgo = false // no PKCS#11 module can be loaded
